package hostcompat

import (
	"testing"

	"github.com/pyro-mcp/pyro/internal/link"
)

func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		v, err := newVM(b.Context(), dir)
		if err != nil {
			b.Fatal(err)
		}
		if err := v.Kill(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExec(b *testing.B) {
	v, err := newVM(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer v.Kill()
	for b.Loop() {
		if _, err := v.Exec(b.Context(), link.Exec{Argv: []string{"/bin/true"}}, link.Streams{}); err != nil {
			b.Fatal(err)
		}
	}
}
