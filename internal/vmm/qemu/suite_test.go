package qemu

import (
	"testing"

	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/vmm/vmmtest"
)

func TestContract(t *testing.T) {
	driver, err := New(Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	vmmtest.Run(t, vmmtest.Config{Driver: driver, Guest: vmmtest.NewGuest(t), Accelerator: vmm.TCG})
}
