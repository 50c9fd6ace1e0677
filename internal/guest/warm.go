package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/template"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"golang.org/x/sys/unix"
)

// yieldingLimit bounds the making of a template that gets only the time that nobody else wants.
const yieldingLimit = 10 * time.Minute

// cloneLimit bounds a start from a template, which takes a fraction of a second: what takes longer is
// damaged.
const cloneLimit = 20 * time.Second

// key is what a template of a plan's shape would be kept under.
func (p plan) key() template.Key {
	return template.Key{
		Image:   p.ImageSHA256,
		Kernel:  p.Kernel.Path,
		Initrd:  p.initrd,
		VMM:     p.fingerprint,
		Cmdline: p.cmdline,
		VCPUs:   p.VCPUs,
		MemMiB:  p.MemMiB,
		DiskMiB: p.DiskMiB,
		Network: p.Network,
	}
}

// clone starts a guest from a template, or gives nil if there is none that works.
func (l Launcher) clone(ctx context.Context, p plan) *Guest {
	if !p.driver.Abilities().Freeze {
		return nil
	}
	if _, err := os.Lstat(p.scratch); err == nil {
		return nil // A disk that was used already belongs to no template.
	}
	key := p.key()
	t := l.find(ctx, p, key)
	if t == nil {
		return nil
	}
	defer t.Close()
	p.memory, p.incoming = &vmm.Memory{Path: t.Memory}, t.State
	if p.Durable {
		// Whatever is pruned while it runs, a task can be kept.
		path, err := template.LinkBase(t.Memory, p.Dir)
		if err != nil {
			l.Log.Warn("a template's memory cannot be linked", "template", key.Name(), "error", err)
			return nil
		}
		p.memory.Path, p.base = path, path
	}
	limited, cancel := context.WithTimeout(ctx, cloneLimit)
	defer cancel()
	if err := template.CloneDisk(t.Scratch, p.scratch); err != nil {
		l.Log.Warn("a template's disk cannot be cloned", "template", key.Name(), "error", err)
		return nil // The template was found whole: what fails is the host, most often for want of room.
	}
	g, err := l.goOn(limited, p, t)
	if err == nil {
		g.facts.Warm, g.facts.Stale = true, t.Stale
		return g
	}
	if ctx.Err() != nil {
		return nil // Nobody waits any more; that is no fault of the template's.
	}
	l.Log.Warn("a template does not come up and is thrown away", "template", key.Name(), "error", err)
	if err := errors.Join(os.Remove(p.scratch), t.Discard()); err != nil {
		l.Log.Warn("what a template left cannot be removed", "error", err)
	}
	return nil
}

// goOn starts a guest from a template's checkpoint, or if there is none that works, from its state.
func (l Launcher) goOn(ctx context.Context, p plan, t *template.Template) (*Guest, error) {
	if t.Process == "" {
		return l.bring(ctx, p)
	}
	with := p
	with.checkpoint = t.Process
	g, err := l.bring(ctx, with)
	if err == nil || ctx.Err() != nil {
		return g, err
	}
	l.Log.Warn("a template's checkpoint does not come up", "error", err)
	if isBroken(err) {
		if err := t.Forget(); err != nil {
			l.Log.Warn("a template's checkpoint cannot be removed", "error", err)
		}
	}
	// The guest may have written to its disk.
	if err := template.CloneDisk(t.Scratch, p.scratch); err != nil {
		return nil, err
	}
	return l.bring(ctx, p)
}

// isBroken tells whether a checkpoint cannot be had, or whether it was its fault that a guest did not start
// from it, and not somebody's who killed that.
func isBroken(err error) bool {
	var far *link.Error
	return errors.Is(err, vmm.ErrCheckpoint) ||
		errors.As(err, &far) && far.Code == link.CodeGuestLost && far.Cause == ""
}

// find gives a template of a key, or nil if there is none: the user's own, or one that the cache's owner
// shares.
func (l Launcher) find(ctx context.Context, p plan, key template.Key) *template.Template {
	own := template.Open(p.OwnDir)
	if t := own.Find(key); t != nil || p.OwnDir == p.CacheDir {
		return t
	}
	t := template.Open(p.CacheDir).Find(key)
	if t == nil || !p.Durable {
		return t
	}
	defer t.Close()
	adopted, err := own.Adopt(ctx, key, t)
	if err != nil {
		l.Log.Warn("a shared template cannot be copied", "template", key.Name(), "error", err)
	}
	return adopted
}

// Warm makes a template of a guest's shape, which then must not be started. The caller's directory is of no
// other use afterwards. In the background it yields to all that runs on the host, and with it all that this
// process does from then on.
func (l Launcher) Warm(ctx context.Context, spec Spec, background bool) (link.Warmed, error) {
	limit := bootLimit
	if background {
		limit = yieldingLimit
		yield()
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p, err := l.plan(ctx, spec)
	if err != nil {
		return link.Warmed{}, unavailable(err)
	}
	if !p.driver.Abilities().Freeze {
		return link.Warmed{}, &link.Error{
			Code:    link.CodeUnsupported,
			Message: fmt.Sprintf("%s cannot freeze a guest, which a template is", p.driver.Name()),
		}
	}
	p.yields = background
	key := p.key()
	store := template.Open(p.OwnDir)
	how := template.How{Wait: !background, Shared: environment.Shared(p.Image)}
	if background {
		alone, err := store.Alone()
		if err != nil {
			return link.Warmed{}, &link.Error{Code: link.CodeState, Message: err.Error()}
		}
		defer alone.Close()
	}
	n, err := store.Make(ctx, key, how, func(ctx context.Context, d template.Draft) error {
		return l.freeze(ctx, p, d)
	})
	if errors.Is(err, template.ErrBusy) {
		return link.Warmed{}, &link.Error{Code: link.CodeState, Message: err.Error()}
	}
	if err == nil {
		_, err = store.Prune(func(template.Key) bool { return true }, template.DefaultLimit)
	}
	return link.Warmed{Template: key.Name(), Bytes: n}, err
}

// freeze boots a guest, lets it come to rest before it has an identity, and freezes it.
func (l Launcher) freeze(ctx context.Context, p plan, d template.Draft) error {
	p.scratch, p.memory = d.Scratch, &vmm.Memory{Path: d.Memory, Shared: true}
	p.cmdline += " " + link.CmdlineWarm
	p.Durable = true // A clone may be; one that is not does not flush.
	// A template holds no connection: what is frozen is a device whose peer has said nothing.
	mute := p
	mute.silent = true
	g, err := l.prepare(ctx, mute)
	if err != nil {
		return err
	}
	defer g.Kill()
	f, ok := g.machine.(vmm.Freezer)
	if !ok {
		return fmt.Errorf("the VMM %q cannot freeze a guest", p.driver.Name())
	}
	if err := f.Freeze(ctx, d.State); err != nil {
		return fmt.Errorf("cannot freeze the guest: %w", err)
	}
	c, ok := g.machine.(vmm.Checkpointer)
	if !ok {
		return nil
	}
	err = keepVMM(ctx, c, d.Process)
	g.Kill()
	if err == nil {
		if err = l.prove(ctx, p, d); err != nil {
			err = errors.Join(err, os.Remove(d.Process))
		}
	}
	switch {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case !isBroken(err) && !errors.Is(err, unix.ENOSPC):
		return err // The next one may succeed, and a template is made once.
	}
	l.Log.Info("the template is without a checkpoint of its VMM", "error", err)
	return nil
}

// keepVMM writes a checkpoint, or leaves none.
func keepVMM(ctx context.Context, c vmm.Checkpointer, path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	// The VMM may run as another user, to whom it is shown by itself.
	if err = errors.Join(c.Checkpoint(ctx, file), file.Chmod(0o755), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// proofLimit bounds the start that proves a checkpoint.
const proofLimit = time.Minute

// prove starts a guest from a checkpoint that was just taken: whether this host lets it go on cannot be told
// in another way.
func (l Launcher) prove(ctx context.Context, p plan, d template.Draft) error {
	ctx, cancel := context.WithTimeout(ctx, proofLimit)
	defer cancel()
	p.memory, p.checkpoint = &vmm.Memory{Path: d.Memory}, d.Process
	p.scratch = filepath.Join(p.Dir, p.ScratchFile)
	if err := template.CloneDisk(d.Scratch, p.scratch); err != nil {
		return err
	}
	g, err := l.prepare(ctx, p)
	if err == nil {
		g.Kill()
	}
	return errors.Join(err, os.Remove(p.scratch))
}
