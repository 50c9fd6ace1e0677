package pyro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// installed gives the environment of a shape, pulled first if it is not there.
func (p *Pyro) installed(ctx context.Context, s Shape) (environment.Manifest, error) {
	m, err := p.store.Get(s.Environment)
	if err == nil || !errors.Is(err, environment.ErrNotInstalled) {
		if err != nil {
			err = environmentError("cannot use an environment", err)
		}
		return m, err
	}
	result, err := p.pull(ctx, PullEnvironmentRequest{Environment: s.Environment, Progress: s.Progress})
	return result.Manifest, err
}

func (p *Pyro) pull(ctx context.Context, r PullEnvironmentRequest) (environment.PullResult, error) {
	mirror := r.Mirror
	if mirror == "" {
		mirror = p.options.Mirror
	}
	request := environment.PullRequest{
		Name:      r.Environment,
		Mirror:    mirror,
		Force:     r.Force,
		Configure: configurer{p},
		Registries: environment.Registries{Insecure: slices.Concat(p.options.InsecureRegistries,
			r.InsecureRegistries)},
	}
	if r.Progress != nil {
		request.Progress = func(e environment.Progress) {
			r.Progress(PullProgress{
				Phase:         e.Phase,
				Detail:        e.Message,
				BytesDone:     e.Bytes,
				BytesTotal:    e.TotalBytes,
				PackagesDone:  e.Packages,
				PackagesTotal: e.TotalPackages,
			})
		}
	}
	result, err := p.store.Pull(ctx, request)
	if err != nil {
		return result, environmentError("", err)
	}
	return result, nil
}

// configurer runs what an environment must run inside a guest to be finished.
type configurer struct{ p *Pyro }

// Configure implements environment.Configurer.
func (c configurer) Configure(
	ctx context.Context, b environment.Boot, script string, output, changes io.Writer,
) error {
	s, err := c.p.instances.Create(ctx, record.VM{
		Kind:            record.KindBuild,
		Environment:     "unconfigured",
		VCPUCount:       2,
		MemMiB:          1024,
		DiskMiB:         DefaultDiskMiB,
		ExecutionMode:   link.ModeGuest,
		WantAccelerator: c.p.options.Accelerator,
		CacheDir:        c.p.options.CacheDir,
		Boot:            record.Boot{Image: b.Image, Kernel: recordKernel(b.Kernel)},
	})
	if err != nil {
		return fromLink("", err)
	}
	defer s.Close()
	if err := s.Client.Call(ctx, link.OpStart, link.Empty{}, nil); err != nil {
		return fromLink("cannot start a guest", err)
	}
	result, err := s.Client.Exec(ctx, link.Exec{Argv: []string{"/bin/sh", "-c", script}, WorkDir: "/"},
		link.Streams{Stdout: output, Stderr: output})
	if err != nil {
		return fromLink("cannot configure the environment", err)
	}
	if result.ExitCode != 0 {
		return fmt.Errorf("the packages could not be configured: exit status %d; %s", result.ExitCode,
			result.Notice)
	}
	if err := s.Client.Export(ctx, changes); err != nil {
		return fromLink("cannot read the configured files", err)
	}
	return nil
}

func recordKernel(k environment.Kernel) record.Kernel {
	return record.Kernel{
		Path:       k.Path,
		SHA256:     k.SHA256,
		ModulesDir: k.ModulesDir,
		Modules:    k.Modules,
	}
}
