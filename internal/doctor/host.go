package doctor

import (
	"context"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/vmm/qemu"
)

// trialSeconds bounds the command that is tried. It does nothing.
const trialSeconds = 60

// Host looks at this host in the way that p would use it.
func Host(p *pyro.Pyro) (Options, error) {
	o := p.Options()
	driver, err := qemu.New(qemu.Options{CacheDir: o.CacheDir})
	if err != nil {
		return Options{}, err
	}
	return Options{
		CacheDir: o.CacheDir, StateDir: o.StateDir, Accelerator: vmm.Accelerator(o.Accelerator), Driver: driver,
		Try: func(ctx context.Context, environment string) (string, error) {
			seconds := trialSeconds
			result, err := p.RunInVM(ctx, pyro.RunInVMRequest{
				Shape:       pyro.Shape{Environment: environment},
				CommandLine: pyro.CommandLine{Argv: []string{"true"}, TimeoutSeconds: &seconds},
			})
			return result.Accelerator, err
		},
	}, nil
}
