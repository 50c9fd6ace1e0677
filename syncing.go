package pyro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"golang.org/x/sys/unix"
)

// SyncTask sends into a task's workspace what changed in the directory that it was seeded from, since then or
// since the last SyncTask, and removes there what is gone. What the task changed as well stays as the task
// has it, unless Force is set. The task is started if it is stopped.
func (p *Pyro) SyncTask(ctx context.Context, r SyncTaskRequest) (SyncTaskResult, error) {
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return SyncTaskResult{}, err
	}
	defer s.Close()
	b, err := p.base(s.ID)
	if err != nil {
		return SyncTaskResult{}, err
	}
	if info, err := os.Stat(b.Source); b.Source == "" || err != nil || !info.IsDir() {
		return SyncTaskResult{}, &Error{
			Kind:    ErrState,
			Message: fmt.Sprintf("%q was not seeded from a directory that is there", s.ID),
		}
	}
	lock, err := lockBase(b)
	if err != nil {
		return SyncTaskResult{}, err
	}
	defer lock.Close()
	y := syncing{p: p, s: s, base: b}
	y.fresh = b.pack() + ".new"
	y.out = SyncTaskResult{TaskID: s.ID, Written: []string{}, Removed: []string{}}
	y.out.Conflicts = []string{}
	defer os.Remove(y.fresh)
	if err := y.sync(ctx, r); err != nil {
		return SyncTaskResult{}, fromLink(fmt.Sprintf("cannot send what changed to %q", s.ID), err)
	}
	return y.out, nil
}

// lockBase keeps others from sending to the same task meanwhile.
func lockBase(b base) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(b.dir, record.SeedFile), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &Error{Kind: ErrState, Message: "somebody else is sending to this task", cause: err}
	}
	return f, nil
}

// syncing is one SyncTask.
type syncing struct {
	p     *Pyro
	s     *instances.Session
	base  base
	fresh string // what the directory is now, as a seed is kept
	out   SyncTaskResult
}

func (y *syncing) sync(ctx context.Context, r SyncTaskRequest) error {
	from := seeding{
		source:         y.base.Source,
		strict:         y.base.Strict,
		exclude:        y.base.Exclude,
		includeIgnored: y.base.IncludeIgnored,
	}
	limits, err := seedLimits()
	if err != nil {
		return err
	}
	options, _, err := from.plan(ctx, limits)
	if err != nil {
		return err
	}
	keep := keepPack(ctx, y.fresh)
	_, err = archive.Pack(ctx, keep, from.source, options)
	if err = keep.finish(err); err != nil {
		return badSeed(from.source, err)
	}
	here, err := y.changedHere(ctx)
	if err != nil || len(here) == 0 {
		return err
	}
	now, err := lookAt(ctx, y.s, y.base.SinceNS)
	if err != nil {
		return err
	}
	send, err := y.decide(ctx, now, here, r.Force)
	if err != nil {
		return err
	}
	if err := y.send(ctx, send, options, limits, r.Progress); err != nil {
		return err
	}
	err = os.Rename(y.fresh, y.base.pack())
	if err != nil || slices.Equal(y.base.Conflicts, y.out.Conflicts) {
		return err
	}
	y.base.Conflicts = y.out.Conflicts
	return y.base.write()
}

// changedHere tells what is not what it was in the directory: true of what is there, false of what is gone.
func (y *syncing) changedHere(ctx context.Context) (map[string]bool, error) {
	before := map[string]archive.Entry{}
	err := y.base.walk(ctx, func(e archive.Entry, _ io.Reader) error {
		if !inGit(e.Path) {
			before[e.Path] = e
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	here, there := map[string]bool{}, map[string]bool{}
	err = walkPack(ctx, y.fresh, func(e archive.Entry, _ io.Reader) error {
		if inGit(e.Path) {
			return nil
		}
		there[e.Path] = true
		old, known := before[e.Path]
		delete(before, e.Path)
		if e.Type == archive.TypeDirectory && known && old.Type == e.Type {
			return nil // What is in it is told by itself.
		}
		if !known || old != e {
			here[e.Path] = true
		}
		return nil
	})
	for name, old := range before {
		if old.Type != archive.TypeDirectory {
			here[name] = false
		}
	}
	for _, name := range y.base.Conflicts {
		if _, known := here[name]; !known {
			here[name] = there[name]
		}
	}
	return here, err
}

// decide tells which paths are to be sent, after those that are to go are gone.
func (y *syncing) decide(
	ctx context.Context, now tree, here map[string]bool, force bool,
) (map[string]bool, error) {
	since, _, err := now.against(ctx, y.base, y.base.pack())
	if err != nil {
		return nil, err
	}
	still, _, err := now.against(ctx, y.base, y.fresh)
	if err != nil {
		return nil, err
	}
	differ, send, gone := map[string]bool{}, map[string]bool{}, link.Replace{}
	for _, c := range since {
		differ[c.path] = true
	}
	wanted := map[string]change{}
	for _, c := range still {
		wanted[c.path] = c
	}
	for _, name := range slices.Sorted(maps.Keys(here)) {
		c, differs := wanted[name]
		switch {
		case !differs:
			// A directory, or what is in the task what it is here, but for its time perhaps.
			send[name] = here[name]
		case differ[name] && !force:
			y.out.Conflicts = append(y.out.Conflicts, name)
		case c.old == nil:
			y.out.Removed = append(y.out.Removed, name)
			gone.Files = append(gone.Files, link.Replacement{Path: name, Remove: true, Prune: true})
		default:
			y.out.Written = append(y.out.Written, name)
			send[name] = true
		}
	}
	if len(gone.Files) == 0 {
		return send, nil
	}
	return send, replace(ctx, y.s, gone)
}

// send sends paths of the directory, with those above them.
func (y *syncing) send(
	ctx context.Context, send map[string]bool, o archive.PackOptions, limits archive.Limits,
	progress func(PullProgress),
) error {
	above := map[string]bool{}
	for name, yes := range send {
		for dir := path.Dir(name); yes && dir != "." && !above[dir]; dir = path.Dir(dir) {
			above[dir] = true
		}
	}
	if !slices.Contains(slices.Collect(maps.Values(send)), true) {
		return nil
	}
	behind := o.Skip
	o.Skip = func(name string, isDir bool) bool {
		return !send[name] && !(isDir && above[name]) || behind != nil && behind(name, isDir)
	}
	into := link.Import{
		Destination: Workspace,
		MaxEntries:  limits.MaxEntries,
		MaxBytes:    limits.MaxBytes,
		Links:       int(o.Links),
	}
	pack := func(ctx context.Context, w io.Writer) (archive.Summary, error) {
		return archive.Pack(ctx, w, y.base.Source, o)
	}
	_, _, err := y.p.send(ctx, y.s, into, progress, pack)
	var source *sourceError
	if errors.As(err, &source) {
		return badSeed(y.base.Source, source.error)
	}
	return err
}
