package cli

import (
	"os"

	"github.com/pyro-mcp/pyro/internal/supervisor"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/vmm/gvisor"
	"github.com/pyro-mcp/pyro/internal/vmm/qemu"
)

// supervise enters the supervisor. It comes before all else, so that a VM pays for no command line.
func supervise(args []string) int { return supervisor.Main(args, drivers()) }

// drivers is the one table of all VMMs that guests can run in.
func drivers() vmm.Drivers {
	return vmm.Drivers{
		Default: "qemu",
		Open: map[string]func(string) (vmm.Driver, error){
			"qemu": func(cacheDir string) (vmm.Driver, error) {
				return qemu.New(qemu.Options{CacheDir: cacheDir})
			},
			gvisor.Name: func(string) (vmm.Driver, error) {
				return gvisorDriver(), nil
			},
		},
	}
}

// gvisorDriver is the driver for guests without a virtual machine.
func gvisorDriver() *gvisor.Driver {
	return gvisor.New(gvisor.Options{Binary: os.Getenv("PYRO_RUNSC")})
}
