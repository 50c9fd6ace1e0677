package vmmtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Bench measures how long a machine takes from Start to the first answer of its guest, booted and cloned, and
// how much memory it then has to itself.
func Bench(b *testing.B, config Config) {
	r := &rig{config: config, dir: b.TempDir()}
	b.Run("boot", func(b *testing.B) { measure(b, func() *guest { return r.boot(b, "") }) })

	template := r.boot(b, r.memory())
	freezer, ok := template.Machine.(vmm.Freezer)
	if !ok {
		return
	}
	state, err := os.Create(filepath.Join(r.dir, "state"))
	must(b, err)
	defer state.Close()
	must(b, freezer.Freeze(b.Context(), state))
	must(b, template.Kill())
	r.state = state
	b.Run("clone", func(b *testing.B) { measure(b, func() *guest { return r.fresh(b) }) })
}

func measure(b *testing.B, start func() *guest) {
	var started, answered time.Duration
	private := 0
	for b.Loop() {
		began := time.Now()
		g := start()
		started += time.Since(began)
		g.want("echo hello", "hello")
		answered += time.Since(began)
		private += privateKiB(b, g.PID())
		must(b, g.Kill())
	}
	b.ReportMetric(started.Seconds()*1000/float64(b.N), "ms/start")
	b.ReportMetric(answered.Seconds()*1000/float64(b.N), "ms/answer")
	b.ReportMetric(float64(private)/1024/float64(b.N), "MiB-private")
	b.ReportMetric(0, "ns/op")
}

// privateKiB is the memory of a process that is shared with no other.
func privateKiB(b *testing.B, pid int) int {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	must(b, err)
	sum := 0
	for _, name := range []string{"Private_Clean:", "Private_Dirty:"} {
		var kib int
		_, rest, _ := bytes.Cut(data, []byte(name))
		if _, err := fmt.Sscan(string(rest), &kib); err != nil {
			b.Fatal(err)
		}
		sum += kib
	}
	return sum
}
