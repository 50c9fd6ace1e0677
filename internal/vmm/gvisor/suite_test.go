package gvisor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pyro-mcp/pyro/internal/vmm/vmmtest"
)

func TestContract(t *testing.T) { vmmtest.Run(t, suite(t)) }

func BenchmarkMachine(b *testing.B) { vmmtest.Bench(b, suite(b)) }

// suite runs the companion program that was built beside pyro.
func suite(t testing.TB) vmmtest.Config {
	t.Helper()
	program := os.Getenv("PYRO_RUNSC")
	if program == "" {
		program = filepath.Join("..", "..", "..", "bin", Program)
	}
	driver := New(Options{Binary: program})
	if _, err := driver.Path(); err != nil {
		t.Fatalf("%v: make build leaves it in bin", err)
	}
	return vmmtest.Config{Driver: driver, Guest: vmmtest.NewBoxedGuest(t)}
}
