package qemu

import (
	"testing"

	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/vmm/vmmtest"
)

func TestContract(t *testing.T) { vmmtest.Run(t, config(t)) }

func BenchmarkMachine(b *testing.B) { vmmtest.Bench(b, config(b)) }

func config(t testing.TB) vmmtest.Config {
	t.Helper()
	driver, err := New(Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return vmmtest.Config{Driver: driver, Guest: vmmtest.NewGuest(t), Accelerator: vmm.TCG}
}
