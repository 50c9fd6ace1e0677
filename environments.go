package pyro

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pyro-mcp/pyro/internal/environment"
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
		out.Environments[i] = EnvironmentListing{
			Name:        l.Name,
			Version:     l.Version,
			Description: l.Description,
			Installed:   l.Installed,
			Problem:     l.Problem,
		}
	}
	return out, nil
}

// PullEnvironment fetches, verifies, builds and installs an environment. Interrupted at any moment it leaves
// the one that was there before, or none.
func (p *Pyro) PullEnvironment(ctx context.Context, r PullEnvironmentRequest) (PullEnvironmentResult, error) {
	result, err := p.pull(ctx, r)
	if err != nil {
		return PullEnvironmentResult{}, err
	}
	if result.Repaired {
		// What was frozen of it may be damaged as well.
		image := result.Manifest.Image.SHA256
		sound := func(key template.Key) bool { return key.Image != image }
		if _, err := p.templates().Prune(sound, template.DefaultLimit); err != nil {
			return PullEnvironmentResult{}, environmentError("cannot remove what was frozen of it", err)
		}
	}
	out := PullEnvironmentResult{
		Repaired:       result.Repaired,
		Changed:        result.Changed,
		PreviousOrigin: result.Previous,
		Env:            viewManifest(result.Manifest),
		Phases:         []PullPhase{},
	}
	if result.Changed {
		// The first VM of the default shape is to be a warm one already.
		if vm, err := p.describe(ctx, record.KindBuild, Shape{Environment: r.Environment}, nil); err == nil {
			p.warmLater(vm)
		}
	}
	for _, phase := range result.Phases {
		out.Phases = append(out.Phases, PullPhase{Name: phase.Name,
			DurationMS: phase.Duration.Milliseconds()})
	}
	return out, nil
}

// InspectEnvironment says what an installed environment is made of.
func (p *Pyro) InspectEnvironment(_ context.Context, r EnvironmentRequest) (EnvironmentManifest, error) {
	m, err := p.store.Get(r.Environment)
	if err != nil {
		return EnvironmentManifest{}, environmentError("cannot inspect an environment", err)
	}
	return viewManifest(m), nil
}

// PruneEnvironments removes cached images, downloads and templates that nothing uses, and what dead
// supervisors left. A dry run removes nothing, VMs and tasks past their TTL neither: what those alone hold is
// not in its answer.
func (p *Pyro) PruneEnvironments(ctx context.Context, r PruneEnvironmentsRequest) (PruneEnvironmentsResult,
	error) {
	if !r.DryRun {
		if _, err := p.ReapExpired(ctx); err != nil {
			return PruneEnvironmentsResult{}, err
		}
	}
	store := p.store
	if own := p.ownDir(); own != p.options.CacheDir {
		store = environment.Open(own) // What is another user's is for them to prune.
	}
	result, err := store.Prune(ctx, environment.PruneRequest{InUse: p.inUse, DryRun: r.DryRun})
	out := PruneEnvironmentsResult{
		Removed:    append([]string{}, result.Removed...),
		FreedBytes: result.FreedBytes,
		DryRun:     r.DryRun,
	}
	if err != nil {
		return out, environmentError("cannot prune", err)
	}
	prune := p.templates().Prune
	if r.DryRun {
		prune = p.templates().WouldPrune
	}
	templates, err := prune(p.usableWithout(out.Removed), template.DefaultLimit)
	for _, t := range templates {
		out.Removed = append(out.Removed, "templates/"+t.Name)
		out.FreedBytes += t.Freed
	}
	if r.DryRun {
		return out, err
	}
	swept, unswept := p.snapshots().Sweep()
	for _, name := range swept {
		out.Removed = append(out.Removed, "snapshots/"+name)
	}
	return out, errors.Join(err, unswept)
}

// templates are those of this user's own.
func (p *Pyro) templates() *template.Store { return template.Open(p.ownDir()) }

// ownDir is where what guests need is kept that the cache has not.
func (p *Pyro) ownDir() string { return environment.OwnDir(p.options.CacheDir, p.options.StateDir) }

// inSnapshots gives the digests of what the snapshots of this state directory boot from, or would.
func (p *Pyro) inSnapshots() (digests []string, err error) {
	all, err := p.snapshots().List()
	if err != nil {
		return nil, err
	}
	for _, snap := range all {
		var vm record.VM
		if err := json.Unmarshal(snap.VM, &vm); err != nil {
			return nil, &unreadError{snap.ID, err}
		}
		digests = append(digests, vm.Boot.ImageSHA256, vm.Boot.Kernel.SHA256)
	}
	return digests, nil
}

// inUse gives the digests of what the VMs of this state directory boot from. One whose record cannot be
// read may need anything.
func (p *Pyro) inUse() (digests []string, err error) {
	ids, err := p.instances.IDs()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		vm, err := record.Load(p.instances.Dir(id))
		if errors.Is(err, fs.ErrNotExist) {
			continue // It is being made or removed.
		}
		if err != nil {
			return nil, &unreadError{id, err}
		}
		digests = append(digests, vm.Boot.ImageSHA256, vm.Boot.Kernel.SHA256)
	}
	kept, err := p.inSnapshots()
	if err != nil {
		return nil, err
	}
	digests = append(digests, kept...)
	return digests, nil
}

// unreadError says that a VM may need anything.
type unreadError struct {
	id    string
	cause error
}

func (e *unreadError) Error() string {
	return fmt.Sprintf("%q may need what would be removed, but its record cannot be read: %v", e.id, e.cause)
}

func (e *unreadError) Unwrap() error { return e.cause }

// usableWithout is usable for when these parts of the cache, as a prune names them, are gone.
func (p *Pyro) usableWithout(parts []string) func(template.Key) bool {
	return func(key template.Key) bool {
		for _, part := range parts {
			prefix := filepath.Join(p.ownDir(), part) + "/"
			if strings.HasPrefix(key.Kernel, prefix) || strings.HasPrefix(key.Initrd, prefix) {
				return false
			}
		}
		return p.usable(key)
	}
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

func viewManifest(m environment.Manifest) EnvironmentManifest {
	out := EnvironmentManifest{
		Name:            m.Name,
		Version:         m.Version,
		Description:     m.Description,
		Source:          m.Source,
		Origin:          m.Reference,
		Architecture:    m.Architecture,
		CreatedAt:       m.CreatedAt,
		ImagePath:       m.Image.Path,
		ImageSHA256:     m.Image.SHA256,
		ImageBytes:      m.Image.Size,
		KernelVersion:   m.Kernel.Version,
		KernelPath:      m.Kernel.Path,
		KernelSHA256:    m.Kernel.SHA256,
		DownloadedBytes: m.DownloadedBytes,
		DiskBytes:       m.DiskBytes,
		Packages:        []EnvironmentPackage{},
	}
	for _, pkg := range m.Packages {
		out.Packages = append(out.Packages, EnvironmentPackage{
			Name:         pkg.Name,
			Version:      pkg.Version,
			Architecture: pkg.Architecture,
			SHA256:       pkg.SHA256,
			Size:         pkg.Size,
		})
	}
	for _, l := range m.Layers {
		out.Layers = append(out.Layers, EnvironmentLayer{MediaType: l.MediaType, SHA256: l.SHA256,
			Size: l.Size})
	}
	if c := m.Config; m.Source != "debian" {
		out.Config = &EnvironmentConfig{
			Env:        c.Env,
			User:       c.User,
			WorkDir:    c.WorkDir,
			Entrypoint: c.Entrypoint,
			Cmd:        c.Cmd,
		}
	}
	return out
}
