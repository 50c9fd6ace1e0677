package guest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/template"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"golang.org/x/sys/unix"
)

// settleLimit bounds how long the guest's agent may take to hold its commands, and to let them go on.
const settleLimit = 5 * time.Second

// SnapshotRequest asks for a snapshot.
type SnapshotRequest struct {
	StateDir string          // where snapshots are
	Name     string          // empty is none
	VM       json.RawMessage // the record of the VM, as far as it says what another one like it is made of
	Brief    bool            // it is to be discarded soon, and need not outlive a crash of the host
}

// Snapshot keeps the guest as it is at one moment, for which it stands still, and goes on. Without its
// memory if that cannot be had. A brief snapshot is there until discard is called.
func (g *Guest) Snapshot(
	ctx context.Context, r SnapshotRequest,
) (made link.Snapshot, discard func() error, err error) {
	took := phase.Start(g.log)
	fill := func(dir string, snap *template.Snapshot) error { return g.keepIn(ctx, dir, snap, r.Brief) }
	if g.facts.Mode == ModeHost {
		fill = func(dir string, snap *template.Snapshot) error { return g.keepWorkspaceIn(ctx, dir, snap) }
	} else if g.kept != nil {
		fill = func(dir string, snap *template.Snapshot) error { return g.keepFilesIn(ctx, dir, snap) }
	} else if err := errors.Join(g.Sync(), syncFile(g.scratch)); err != nil {
		// It is written out ahead, so that there is little left to write while it stands still.
		return made, nil, err
	}
	took.Done("disk written out")
	snap, err := template.OpenSnapshots(r.StateDir).Make(template.Snapshot{
		Name:   r.Name,
		Source: g.id,
		VMM:    g.fingerprint,
		VM:     r.VM,
		Brief:  r.Brief,
	}, fill)
	if err != nil {
		return made, nil, snapshotError(err)
	}
	took.Done("snapshot made", "pause_ms", snap.PauseMS)
	return link.Snapshot{ID: snap.ID, PauseMS: snap.PauseMS}, snap.Discard, nil
}

// snapshotError finds the code of what kept a snapshot from being made.
func snapshotError(err error) error {
	code, cause := link.CodeInternal, link.Cause("")
	var far *link.Error
	switch {
	case errors.Is(err, template.ErrNameTaken):
		code = link.CodeState
	case errors.Is(err, template.ErrBadName):
		code = link.CodeInvalid
	case errors.Is(err, template.ErrNoSnapshot):
		code = link.CodeNotFound
	case errors.Is(err, unix.ENOSPC):
		code, cause = link.CodeNoSpace, link.CauseHostDisk
	case errors.As(err, &far):
		return err
	}
	return &link.Error{Code: code, Cause: cause, Message: err.Error()}
}

// keepIn fills the directory of a snapshot.
func (g *Guest) keepIn(ctx context.Context, dir string, snap *template.Snapshot, brief bool) error {
	parts := template.PartsIn(dir)
	copied := template.NewDiskCopy(g.scratch, parts.Scratch)
	defer copied.Close()
	machine, ok := g.machine.(vmm.Snapshotter)
	if !ok {
		snap.WithoutMemory = "this kind of VM cannot keep its guest's memory"
	}
	pause, err := g.still(ctx, machine, parts, keeping{ahead: copied.Ahead, still: copied.Finish})
	snap.Memory, snap.PauseMS = ok, pause.Milliseconds()
	if err != nil || brief {
		return err
	}
	if err := syncFile(parts.Scratch); err != nil || !ok {
		return err
	}
	return errors.Join(syncFile(parts.Pages), syncFile(parts.State))
}

// keepFilesIn fills the directory of a snapshot of a guest whose disk is memory: its files, as they are when
// they are read. It does not stand still for it, for its kernel cannot hold commands.
func (g *Guest) keepFilesIn(ctx context.Context, dir string, snap *template.Snapshot) error {
	snap.WithoutMemory = "a guest in gVisor keeps its files alone"
	return g.Lost(g.kept.clone(ctx, g.client, template.PartsIn(dir).Scratch))
}

// Pause keeps the guest in its VM's directory, where its next start goes on from, and ends it.
func (g *Guest) Pause(ctx context.Context) error {
	if g.facts.Mode == ModeHost {
		return &link.Error{
			Code: link.CodeUnsupported,
			Message: "its commands run on the host, where memory cannot be kept; a task that is " +
				"stopped keeps its files",
		}
	}
	machine, ok := g.machine.(vmm.Snapshotter)
	if !ok || g.scratch == "" {
		return &link.Error{
			Code:    link.CodeUnsupported,
			Message: "its memory cannot be kept; a task that is stopped keeps its files",
		}
	}
	if err := errors.Join(g.Sync(), syncFile(g.scratch)); err != nil {
		return err
	}
	err := template.Keep(g.dir, func(dir string, k *template.Kept) error {
		k.Memory, k.VMM = true, g.fingerprint
		parts := template.PartsIn(dir)
		_, err := g.still(ctx, machine, parts, keeping{stay: true, still: func(bool) error {
			// From here on it is ended; if this fails it goes on.
			return errors.Join(syncFile(parts.Pages), syncFile(parts.State), k.Commit())
		}})
		return err
	})
	if err != nil {
		return snapshotError(err)
	}
	g.Kill()
	return nil
}

// keeping is what is to be done while a guest is kept.
type keeping struct {
	ahead func() error             // while it runs; may be nil if it has a machine
	still func(changed bool) error // while it stands still; see [vmm.Snapshot]
	stay  bool                     // it is not to go on
}

// still has the guest stand still for as long as it takes to keep it: its commands are held, so that none
// of them runs in a fork before that is a machine of its own, then its memory and devices are kept if
// machine can, and its disk.
func (g *Guest) still(
	ctx context.Context, machine vmm.Snapshotter, parts template.Parts, how keeping,
) (pause time.Duration, err error) {
	var begun time.Time
	took := phase.Start(g.log)
	hold := func() error {
		took.Done("memory kept while the guest runs")
		begun = time.Now()
		err := g.settle(ctx, link.OpHold)
		took.Done("commands held")
		return err
	}
	defer func() {
		took.Done("guest goes on")
		if !begun.IsZero() && !(how.stay && err == nil) {
			// Its commands go on also if whoever asked has gone.
			err = errors.Join(err, g.settle(context.WithoutCancel(ctx), link.OpRelease))
		}
		if !begun.IsZero() {
			pause = time.Since(begun)
			took.Done("commands released")
		}
	}()
	if machine == nil {
		if err := how.ahead(); err != nil {
			return 0, err
		}
		if err := hold(); err != nil {
			return 0, err
		}
		return 0, errors.Join(g.Sync(), how.still(true))
	}
	if g.base != "" {
		if err := os.Link(g.base, parts.Base); err != nil {
			return 0, err
		}
	}
	pages, err := os.OpenFile(parts.Pages, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer pages.Close()
	state, err := os.OpenFile(parts.State, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer state.Close()
	return 0, machine.Snapshot(ctx, vmm.Snapshot{
		Memory: pages,
		State:  state,
		Ahead:  timed(took, "disk copied while the guest runs", how.ahead),
		Settle: hold,
		Still: func(changed bool) error {
			took.Done("guest stopped, memory and devices kept")
			err := how.still(changed)
			took.Done("disk kept", "changed", changed)
			return err
		},
		Stay: how.stay,
	})
}

// timed is do with a word about how long it took; nil stays nil.
func timed(took *phase.Clock, name string, do func() error) func() error {
	if do == nil {
		return nil
	}
	return func() error {
		defer took.Done(name)
		return do()
	}
}

// settle has the agent hold all commands, or let them go on.
func (g *Guest) settle(ctx context.Context, op link.Op) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	return g.Lost(g.client.Call(ctx, op, link.Empty{}, nil))
}

// startKept starts a guest that goes on from what its VM's directory keeps: a paused one, a fork, one that
// is rolled back. It gives nil if there is no such thing, or if only its disk could be had: then that is in
// its place, the guest is to boot, and forgotten says why.
func (l Launcher) startKept(ctx context.Context, p plan) (g *Guest, forgotten string, err error) {
	kept, err := template.FindKept(p.Dir)
	if err != nil || kept == nil {
		return nil, "", err
	}
	if kept.Host {
		return nil, "", otherKind("its files were kept of commands that ran on the host, and do not go " +
			"on in a guest")
	}
	taken := func() error { return errors.Join(kept.TakeDisk(cmp.Or(p.scratch, p.kept)), kept.Drop()) }
	if !kept.Memory {
		return nil, "its memory was not kept", taken()
	}
	if kept.VMM != p.fingerprint {
		l.Log.Warn("the guest boots from its disk alone: its memory is of another VMM")
		return nil, "its memory is of another version of the VMM, another accelerator or another processor",
			taken()
	}
	g, err = l.goOnFrom(ctx, p, kept, taken)
	if err == nil || ctx.Err() != nil {
		return g, "", err
	}
	if again, _ := template.FindKept(p.Dir); again == nil {
		return nil, "", err // It ran, and ended.
	}
	l.Log.Warn("the guest boots from its disk alone", "error", err)
	return nil, "its memory cannot be loaded here", taken()
}

func (l Launcher) goOnFrom(
	ctx context.Context, p plan, kept *template.Kept, taken func() error,
) (*Guest, error) {
	parts := kept.Parts()
	state, err := os.Open(parts.State)
	if err != nil {
		return nil, err
	}
	defer state.Close()
	p.memory, p.incoming, p.ready = &vmm.Memory{}, state, taken
	from := parts.Base
	if _, err := os.Lstat(from); errors.Is(err, os.ErrNotExist) {
		from = parts.Pages // All of the guest's memory: it was booted.
	} else if p.memory.Overlay, err = os.Open(parts.Pages); err != nil {
		return nil, err
	} else {
		defer p.memory.Overlay.Close()
	}
	if p.memory.Path, err = template.LinkBase(from, p.Dir); err != nil {
		return nil, err
	}
	p.base, p.disk = p.memory.Path, p.scratch
	if _, err := os.Lstat(parts.Scratch); err == nil {
		p.disk = parts.Scratch
	}
	g, err := l.prepare(ctx, p)
	if err != nil {
		return nil, err
	}
	took := phase.Start(l.Log)
	if err := g.guarded(ctx, func(ctx context.Context) error {
		if err := g.identify(ctx, p.Spec); err != nil {
			return err
		}
		took.Done("guest identified")
		return g.settle(ctx, link.OpRelease)
	}); err != nil {
		g.Kill()
		return nil, err
	}
	took.Done("commands released")
	g.facts.Resumed = true
	go g.tend(l.Log)
	return g, nil
}

// Origin is what a snapshot is of.
type Origin struct {
	ID     string          // the snapshot's
	Source string          // the VM's id
	Host   bool            // the host stood in for a guest
	VM     json.RawMessage // the VM's record
}

// KeepSnapshot has the VM in a directory go on from a snapshot when it is started next. An empty reference is
// the newest one of source. Unless it is nil, fits judges what the snapshot is of. It gives the snapshot's
// id.
func KeepSnapshot(stateDir, reference, source, vmDir string, fits func(Origin) error) (string, error) {
	store := template.OpenSnapshots(stateDir)
	var snap template.Snapshot
	var err error
	if reference == "" {
		snap, err = store.Newest(source)
	} else {
		snap, err = store.Get(reference)
	}
	if err == nil && fits != nil {
		err = fits(Origin{snap.ID, snap.Source, snap.Host, snap.VM})
	}
	if err == nil {
		err = snap.Keep(vmDir)
	}
	if err != nil {
		return "", snapshotError(err)
	}
	return snap.ID, nil
}

// DropKept forgets what the VM in a directory would have gone on from. Its disk is taken if there is one.
func DropKept(vmDir, scratch string) error {
	kept, err := template.FindKept(vmDir)
	if err != nil || kept == nil {
		return err
	}
	return errors.Join(kept.TakeDisk(filepath.Join(vmDir, scratch)), kept.Drop())
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fdatasync(int(f.Fd())), f.Close())
}
