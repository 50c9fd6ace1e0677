package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/template"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// cloneLimit bounds a start from a template, which takes a fraction of a second: what takes longer is damaged.
const cloneLimit = 20 * time.Second

// key is what a template of a plan's shape would be kept under. It is the zero key where there can be none.
func (p plan) key(ctx context.Context) (template.Key, error) {
	print, err := p.driver.Fingerprint(ctx, p.accelerator)
	if err != nil {
		return template.Key{}, err
	}
	return template.Key{Image: p.vm.Boot.ImageSHA256, Kernel: p.vm.Boot.Kernel.Path, Initrd: p.initrd, VMM: print, Words: p.words,
		VCPUs: p.vm.VCPUCount, MemMiB: p.vm.MemMiB, DiskMiB: p.vm.DiskMiB, Network: p.vm.NetworkEnabled}, nil
}

// clone starts a guest from a template, or gives nil where there is none that works.
func (s *supervisor) clone(ctx context.Context, p plan) *guest {
	if _, err := os.Lstat(p.scratch); err == nil {
		return nil // A disk that was used already belongs to no template.
	}
	key, err := p.key(ctx)
	if err != nil {
		return nil
	}
	store := template.Open(p.vm.CacheDir)
	t := store.Find(key)
	if t == nil {
		return nil
	}
	defer t.Close()
	p.memory, p.incoming = &vmm.Memory{Path: t.Memory}, t.State
	limited, cancel := context.WithTimeout(ctx, cloneLimit)
	defer cancel()
	if err := template.CloneDisk(t.Scratch, p.scratch); err != nil {
		s.log.Warn("a template's disk cannot be cloned", "template", key.Name(), "error", err)
		return nil // The template was found whole: what fails is the host, most often for want of room.
	}
	g, err := s.bootPlan(limited, p)
	if err == nil {
		g.warm = true
		return g
	}
	if ctx.Err() != nil {
		return nil // Nobody waits any more; that is no fault of the template's.
	}
	s.log.Warn("a template does not come up and is thrown away", "template", key.Name(), "error", err)
	if err := errors.Join(os.Remove(p.scratch), t.Discard()); err != nil {
		s.log.Warn("what a template left cannot be removed", "error", err)
	}
	return nil
}

// warm makes a template of this VM's shape. The VM is of no other use and ends with it. It goes on without its
// client, who need not wait.
func (s *supervisor) warm(c *session) (any, error) {
	c.bound.Store(false)
	defer s.end(errDeleted)
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	defer cancel()
	p, err := s.plan(ctx, s.snapshot())
	if err != nil {
		return nil, unavailable(err)
	}
	key, err := p.key(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	store := template.Open(p.vm.CacheDir)
	n, err := store.Make(ctx, key, func(ctx context.Context, d template.Draft) error {
		return s.freeze(ctx, p, d)
	})
	if errors.Is(err, template.ErrBusy) {
		return nil, &link.Error{Code: link.CodeState, Message: err.Error()}
	}
	if err == nil {
		_, err = store.Prune(func(template.Key) bool { return true }, template.DefaultLimit)
	}
	return link.Warmed{Template: key.Name(), Bytes: n}, err
}

// freeze boots a guest, lets it come to rest before it has an identity, and freezes it.
func (s *supervisor) freeze(ctx context.Context, p plan, d template.Draft) error {
	p.scratch, p.memory = d.Scratch, &vmm.Memory{Path: d.Memory, Shared: true}
	p.words += " " + link.WordWarm
	g, err := s.prepare(ctx, p)
	if err != nil {
		return err
	}
	defer g.kill()
	if g.network != nil {
		// A template holds no connection: what is frozen is a device whose peer has said nothing.
		g.network.Close()
	}
	f, ok := g.machine.(vmm.Freezer)
	if !ok {
		return errors.New("this monitor cannot freeze a guest")
	}
	if err := f.Freeze(ctx, d.State); err != nil {
		return fmt.Errorf("cannot freeze the guest: %w", err)
	}
	return nil
}
