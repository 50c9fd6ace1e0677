package pyro

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/template"
)

// ListEnvironments gives the catalog.
func (p *Pyro) ListEnvironments(context.Context) (ListEnvironmentsResult, error) {
	list, err := p.store.List()
	if err != nil {
		return ListEnvironmentsResult{}, environmentError("cannot list environments", err)
	}
	out := ListEnvironmentsResult{Environments: make([]EnvironmentListing, len(list))}
	for i, l := range list {
		out.Environments[i] = EnvironmentListing{Name: l.Name, Version: l.Version, Description: l.Description, Installed: l.Installed}
	}
	return out, nil
}

// PullEnvironment fetches, verifies, builds and installs an environment. Interrupted at any moment it leaves the
// one that was there before, or none.
func (p *Pyro) PullEnvironment(ctx context.Context, r PullEnvironmentRequest) (PullEnvironmentResult, error) {
	result, err := p.pull(ctx, r)
	if err != nil {
		return PullEnvironmentResult{}, err
	}
	out := PullEnvironmentResult{Changed: result.Changed, PreviousOrigin: result.Previous, Env: viewManifest(result.Manifest), Phases: []PullPhase{}}
	if result.Changed {
		// The first VM of the default shape is to be a warm one already.
		if vm, err := p.describe(ctx, record.KindBuild, Shape{Environment: r.Environment}, nil); err == nil {
			p.warmLater(vm)
		}
	}
	for _, phase := range result.Phases {
		out.Phases = append(out.Phases, PullPhase{Name: phase.Name, DurationMS: phase.Duration.Milliseconds()})
	}
	return out, nil
}

func (p *Pyro) pull(ctx context.Context, r PullEnvironmentRequest) (environment.PullResult, error) {
	mirror := r.Mirror
	if mirror == "" {
		mirror = p.options.Mirror
	}
	request := environment.PullRequest{Name: r.Environment, Mirror: mirror, Force: r.Force, Configure: configurer{p},
		Registries: environment.Registries{Insecure: slices.Concat(p.options.InsecureRegistries, r.InsecureRegistries)}}
	if r.Progress != nil {
		request.Progress = func(e environment.Progress) {
			r.Progress(PullProgress{Phase: e.Phase, Detail: e.Message, BytesDone: e.Bytes, BytesTotal: e.TotalBytes,
				PackagesDone: e.Packages, PackagesTotal: e.TotalPackages})
		}
	}
	result, err := p.store.Pull(ctx, request)
	if err != nil {
		return result, environmentError("", err)
	}
	return result, nil
}

// InspectEnvironment says what an installed environment is made of.
func (p *Pyro) InspectEnvironment(_ context.Context, r EnvironmentRequest) (EnvironmentManifest, error) {
	m, err := p.store.Get(r.Environment)
	if err != nil {
		return EnvironmentManifest{}, environmentError("cannot inspect an environment", err)
	}
	return viewManifest(m), nil
}

// installed gives the environment of a shape, pulled first where it is not there.
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

func environmentError(what string, err error) error {
	out := &Error{Kind: ErrEnvironment, Message: err.Error(), cause: err}
	if what != "" {
		out.Message = fmt.Sprintf("%s: %v", what, err)
	}
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter) {
		out.Hint = hinter.Hint()
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, environment.ErrUnknown):
		out.Kind, out.Message, out.Hint = ErrNotFound, err.Error(), cmp.Or(out.Hint, "pyro env list shows the environments there are")
	case errors.Is(err, environment.ErrNotInstalled):
		out.Kind, out.Hint = ErrNotFound, cmp.Or(out.Hint, "install it with pyro env pull")
	}
	return out
}

// PruneEnvironments removes cached images, downloads and templates that nothing uses, and what dead supervisors left.
func (p *Pyro) PruneEnvironments(ctx context.Context) (PruneEnvironmentsResult, error) {
	if _, err := p.ReapExpired(ctx); err != nil {
		return PruneEnvironmentsResult{}, err
	}
	root := p.root()
	ids, err := root.IDs()
	if err != nil {
		return PruneEnvironmentsResult{}, err
	}
	var inUse []string
	for _, id := range ids {
		if vm, err := record.Load(root.Path(id)); err == nil {
			inUse = append(inUse, vm.Boot.ImageSHA256, vm.Boot.Kernel.SHA256)
		}
	}
	result, err := p.store.Prune(ctx, environment.PruneRequest{InUse: inUse})
	out := PruneEnvironmentsResult{Removed: append([]string{}, result.Removed...), FreedBytes: result.FreedBytes}
	if err != nil {
		return out, environmentError("cannot prune", err)
	}
	templates, err := template.Open(p.options.CacheDir).Prune(p.usable, template.DefaultLimit)
	for _, t := range templates {
		out.Removed = append(out.Removed, "templates/"+t.Name)
		out.FreedBytes += t.Freed
	}
	return out, err
}

// usable tells whether a VM could still be started from a template of this key.
func (p *Pyro) usable(key template.Key) bool {
	for _, path := range []string{key.Kernel, key.Initrd} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	list, err := p.store.List()
	if err != nil {
		return true
	}
	for _, l := range list {
		if l.Installed && l.ImageSHA256 == key.Image {
			return true
		}
	}
	return false
}

// WarmEnvironment makes the template that VMs of a shape are cloned from.
func (p *Pyro) WarmEnvironment(ctx context.Context, r WarmEnvironmentRequest) (WarmEnvironmentResult, error) {
	begun := time.Now()
	s, _, err := p.make(ctx, record.KindBuild, Shape{Environment: r.Environment, VCPUCount: r.VCPUCount, MemMiB: r.MemMiB,
		Network: r.Network}, nil)
	if err != nil {
		return WarmEnvironmentResult{}, err
	}
	defer s.Close()
	var warmed link.Warmed
	if err := s.client.Call(ctx, link.OpWarm, link.Empty{}, &warmed); err != nil {
		return WarmEnvironmentResult{}, fromLink("cannot make a template", err)
	}
	return WarmEnvironmentResult{Environment: r.Environment, Template: warmed.Template, Bytes: warmed.Bytes,
		DurationMS: time.Since(begun).Milliseconds()}, nil
}

// warmLater has a template made for the next VM of a shape, by a supervisor that goes on alone.
func (p *Pyro) warmLater(vm record.VM) {
	if vm.Warm || vm.ExecutionMode != "guest" {
		return
	}
	vm.Kind, vm.TTLSeconds, vm.Metadata = record.KindBuild, 0, nil
	ctx := context.Background()
	s, err := p.create(ctx, vm)
	if err != nil {
		p.log.Warn("cannot make a template", "error", err)
		return
	}
	defer s.Close()
	if err := s.client.Post(ctx, link.OpWarm, link.Empty{}); err != nil {
		p.log.Warn("cannot make a template", "error", err)
	}
}

// configurer runs what an environment must run inside a guest to be finished.
type configurer struct{ p *Pyro }

// Configure implements environment.Configurer.
func (c configurer) Configure(ctx context.Context, b environment.Boot, script string, output, changes io.Writer) error {
	s, err := c.p.create(ctx, record.VM{
		Kind: record.KindBuild, Environment: "unconfigured", VCPUCount: 2, MemMiB: 1024, DiskMiB: DefaultDiskMiB, ExecutionMode: "guest",
		WantAccelerator: c.p.options.Accelerator, CacheDir: c.p.options.CacheDir,
		Boot: record.Boot{Image: b.Image, Kernel: recordKernel(b.Kernel)},
	})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.client.Call(ctx, link.OpStart, link.Empty{}, nil); err != nil {
		return fromLink("cannot start a guest", err)
	}
	result, err := s.client.Exec(ctx, link.Exec{Argv: []string{"/bin/sh", "-c", script}, WorkDir: "/"}, link.Streams{Stdout: output, Stderr: output})
	if err != nil {
		return fromLink("cannot configure the environment", err)
	}
	if result.ExitCode != 0 {
		return fmt.Errorf("the packages could not be configured: exit status %d; %s", result.ExitCode, result.Notice)
	}
	if err := s.client.Export(ctx, changes); err != nil {
		return fromLink("cannot read the configured files", err)
	}
	return nil
}

func recordKernel(k environment.Kernel) record.Kernel {
	return record.Kernel{Path: k.Path, SHA256: k.SHA256, ModulesDir: k.ModulesDir, Modules: k.Modules}
}

func viewManifest(m environment.Manifest) EnvironmentManifest {
	out := EnvironmentManifest{Name: m.Name, Version: m.Version, Description: m.Description, Source: m.Source, Origin: m.Reference,
		Architecture: m.Architecture, CreatedAt: m.CreatedAt, ImagePath: m.Image.Path, ImageSHA256: m.Image.SHA256, ImageBytes: m.Image.Size,
		KernelVersion: m.Kernel.Version, KernelPath: m.Kernel.Path, KernelSHA256: m.Kernel.SHA256,
		DownloadedBytes: m.DownloadedBytes, DiskBytes: m.DiskBytes, Packages: []EnvironmentPackage{}}
	for _, pkg := range m.Packages {
		out.Packages = append(out.Packages, EnvironmentPackage{Name: pkg.Name, Version: pkg.Version, Architecture: pkg.Architecture,
			SHA256: pkg.SHA256, Size: pkg.Size})
	}
	for _, l := range m.Layers {
		out.Layers = append(out.Layers, EnvironmentLayer{MediaType: l.MediaType, SHA256: l.SHA256, Size: l.Size})
	}
	if c := m.Config; m.Source == "oci" {
		out.Config = &EnvironmentConfig{Env: c.Env, User: c.User, WorkDir: c.WorkDir, Entrypoint: c.Entrypoint, Cmd: c.Cmd}
	}
	return out
}
