package pyro

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/template"
)

// SnapshotTask keeps a task as it is at one moment: processes, memory and disk. The task stands still for a
// moment and goes on. A paused or stopped one is started first.
func (p *Pyro) SnapshotTask(ctx context.Context, r SnapshotTaskRequest) (Snapshot, error) {
	if r.Name != "" {
		if err := template.CheckName(r.Name); err != nil {
			return Snapshot{}, invalid("cannot name a snapshot: %v", err)
		}
	}
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
		return Snapshot{}, err
	}
	if err := p.roomForSnapshot(); err != nil {
		return Snapshot{}, err
	}
	id, done, err := p.takeSnapshot(ctx, r.TaskID, link.TakeSnapshot{Name: r.Name})
	if err != nil {
		return Snapshot{}, err
	}
	done()
	if err := p.useSnapshot(id); err != nil {
		_, _, gone := p.snapshots().Delete(id)
		return Snapshot{}, errors.Join(err, gone)
	}
	return p.InspectSnapshot(ctx, SnapshotRequest{Snapshot: id})
}

// useSnapshot records that a snapshot needs its environment, for those who prune with another state
// directory.
func (p *Pyro) useSnapshot(id string) error {
	snap, err := p.snapshots().Get(id)
	if err != nil {
		return snapshotError("cannot take a snapshot", err)
	}
	vm, err := forkOf(snap, ForkTaskRequest{})
	if err != nil {
		return err
	}
	if err := p.store.Use(vm.Boot.ImageSHA256, vm.Boot.Kernel.Path, snap.Dir()); err != nil {
		return environmentError("", err)
	}
	return nil
}

// takeSnapshot gives the snapshot's id, and done, which ends a brief one.
func (p *Pyro) takeSnapshot(
	ctx context.Context, task string, want link.TakeSnapshot,
) (id string, done func(), err error) {
	// What killed makers left takes room that this one may need.
	if _, err := p.snapshots().Sweep(); err != nil {
		return "", nil, snapshotError("cannot remove what a snapshot left that was broken off", err)
	}
	s, err := p.reach(ctx, task)
	if err != nil {
		return "", nil, err
	}
	var made link.Snapshot
	if err := s.Client.Call(ctx, link.OpSnapshot, want, &made); err != nil {
		s.Close()
		return "", nil, fromLink(fmt.Sprintf("cannot take a snapshot of %q", task), err)
	}
	return made.ID, s.Close, nil
}

// forksAtOnce bounds how many forks are started at a time.
const forksAtOnce = 16

// ForkTask makes tasks that go on from where another is, or was when a snapshot of it was taken. Each is a
// machine of its own before anything runs in it. If one of them cannot be made, none is.
func (p *Pyro) ForkTask(ctx context.Context, r ForkTaskRequest) (ForkTaskResult, error) {
	if (r.TaskID == "") == (r.Snapshot == "") {
		return ForkTaskResult{}, invalid("name either a task or a snapshot to fork")
	}
	count := r.Count
	if count == 0 {
		count = 1
	}
	if err := ParameterNamed("count").check(count); err != nil {
		return ForkTaskResult{}, err
	}
	if r.TTLSeconds != nil {
		if err := ParameterNamed("ttl_seconds").check(*r.TTLSeconds); err != nil {
			return ForkTaskResult{}, err
		}
	}
	word := r.Snapshot
	if r.TaskID != "" {
		if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
			return ForkTaskResult{}, err
		}
		id, done, err := p.takeSnapshot(ctx, r.TaskID, link.TakeSnapshot{Brief: true})
		if err != nil {
			return ForkTaskResult{}, err
		}
		word = id
		// The forks hold what they need of it. If this process is killed, the task's own removes it.
		defer done()
	}
	snap, err := p.snapshots().Get(word)
	if err != nil {
		return ForkTaskResult{}, snapshotError("cannot fork", err)
	}
	vm, err := forkOf(snap, r)
	if err != nil {
		return ForkTaskResult{}, err
	}
	tasks, err := p.forks(ctx, vm, snap.Source, count)
	if err != nil {
		return ForkTaskResult{}, err
	}
	return ForkTaskResult{Tasks: tasks}, nil
}

// forkOf is the record of a fork that is to be.
func forkOf(snap template.Snapshot, r ForkTaskRequest) (record.VM, error) {
	var vm record.VM
	if err := json.Unmarshal(snap.VM, &vm); err != nil {
		return vm, &Error{Message: fmt.Sprintf("cannot read the snapshot %q: %v", snap.ID, err), cause: err}
	}
	vm.From, vm.Metadata = snap.ID, maps.Clone(r.Metadata)
	if r.TTLSeconds != nil {
		vm.TTLSeconds = *r.TTLSeconds
	}
	return vm, nil
}

// forks makes so many tasks, or none.
func (p *Pyro) forks(ctx context.Context, vm record.VM, from string, count int) ([]Task, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks, failed := make([]Task, count), make([]error, count)
	var making sync.WaitGroup
	places := make(chan struct{}, forksAtOnce)
	for i := range count {
		making.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if tasks[i], failed[i] = p.fork(ctx, vm, from); failed[i] != nil {
				cancel()
			}
		})
	}
	making.Wait()
	err := cause(failed)
	if err == nil {
		return tasks, nil
	}
	for _, t := range tasks {
		if t.TaskID != "" {
			_, gone := p.destroy(context.WithoutCancel(ctx), t.TaskID)
			err = errors.Join(err, gone)
		}
	}
	return nil, err
}

// cause is the first that failed by itself; the others were cancelled for it.
func cause(failed []error) (first error) {
	for _, err := range failed {
		if err != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = err
		}
	}
	return first
}

// fork makes one task that goes on from a snapshot.
func (p *Pyro) fork(ctx context.Context, vm record.VM, from string) (Task, error) {
	if ctx.Err() != nil {
		return Task{}, context.Cause(ctx)
	}
	s, err := p.instances.Create(ctx, vm)
	if err != nil {
		return Task{}, fromLink("", err)
	}
	defer s.Close()
	if err := p.store.Use(vm.Boot.ImageSHA256, vm.Boot.Kernel.Path, p.instances.Dir(s.ID)); err != nil {
		return Task{}, errors.Join(environmentError("", err), p.instances.Discard(s.ID))
	}
	if err := inherit(p.instances.Dir(from), p.instances.Dir(s.ID)); err != nil {
		return Task{}, errors.Join(err, p.instances.Discard(s.ID))
	}
	task, err := p.completed(ctx, s)
	if err != nil {
		return Task{}, errors.Join(err, p.instances.Discard(s.ID))
	}
	return task, nil
}

func (p *Pyro) completed(ctx context.Context, s *instances.Session) (Task, error) {
	if err := s.Client.Call(ctx, link.OpStart, link.Empty{}, nil); err != nil {
		return Task{}, fromLink("cannot start a fork", err)
	}
	var vm record.VM
	if err := s.Client.Call(ctx, link.OpSeeded, record.Seed{}, &vm); err != nil {
		return Task{}, fromLink("cannot start a fork", err)
	}
	return viewTask(vm), nil
}

// RollbackTask has a task go on from a snapshot: the newest of its own unless one is named. What it did
// since is lost; what ran when the snapshot was taken runs on.
func (p *Pyro) RollbackTask(ctx context.Context, r RollbackTaskRequest) (RollbackTaskResult, error) {
	s, err := p.reachTask(ctx, r.TaskID)
	if err != nil {
		return RollbackTaskResult{}, err
	}
	defer s.Close()
	begun := time.Now()
	var done link.Snapshot
	if err := s.Client.Call(ctx, link.OpRollback, link.Rollback{Snapshot: r.Snapshot}, &done); err != nil {
		return RollbackTaskResult{}, fromLink(fmt.Sprintf("cannot roll %q back", r.TaskID), err)
	}
	took := time.Since(begun).Milliseconds()
	vm, err := p.status(s.ID)
	return RollbackTaskResult{Task: viewTask(vm), SnapshotID: done.ID, DurationMS: took}, err
}

// PauseTask keeps a task on disk, with its memory, and ends its guest: it takes none of the host's memory
// until it is resumed. On a paused task it does nothing.
func (p *Pyro) PauseTask(ctx context.Context, r TaskRequest) (Task, error) {
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
		return Task{}, err
	}
	if vm, err := p.status(r.TaskID); err != nil || vm.State == record.StatePaused {
		return viewTask(vm), err
	}
	return p.askTask(ctx, r.TaskID, link.OpPause, "cannot pause")
}

// ResumeTask has a paused task go on, and a stopped one start; the next command does so by itself. On a
// task that runs it does nothing.
func (p *Pyro) ResumeTask(ctx context.Context, r TaskRequest) (Task, error) {
	return p.askTask(ctx, r.TaskID, link.OpStart, "cannot resume")
}

func (p *Pyro) reachTask(ctx context.Context, id string) (*instances.Session, error) {
	if err := p.resolve(&id, record.KindTask); err != nil {
		return nil, err
	}
	return p.reach(ctx, id)
}

func (p *Pyro) askTask(ctx context.Context, id string, op link.Op, failing string) (Task, error) {
	s, err := p.reachTask(ctx, id)
	if err != nil {
		return Task{}, err
	}
	defer s.Close()
	var vm record.VM
	if err := s.Client.Call(ctx, op, link.Empty{}, &vm); err != nil {
		return Task{}, fromLink(fmt.Sprintf("%s %q", failing, id), err)
	}
	return viewTask(vm), nil
}

// ListSnapshots gives all snapshots, oldest first, with what they take on disk.
func (p *Pyro) ListSnapshots(context.Context) (ListSnapshotsResult, error) {
	all, err := p.snapshots().List()
	if err != nil {
		return ListSnapshotsResult{}, fmt.Errorf("cannot list snapshots: %w", err)
	}
	limit, err := snapshotLimit()
	if err != nil {
		return ListSnapshotsResult{}, err
	}
	out := ListSnapshotsResult{Snapshots: []Snapshot{}, LimitBytes: limit}
	forks := p.forksOf()
	for _, snap := range all {
		s := viewSnapshot(snap, forks[snap.ID])
		out.Snapshots = append(out.Snapshots, s)
		out.TotalBytes += s.Bytes
	}
	return out, nil
}

// InspectSnapshot tells what a snapshot is of, and what it takes.
func (p *Pyro) InspectSnapshot(_ context.Context, r SnapshotRequest) (Snapshot, error) {
	snap, err := p.snapshots().Get(r.Snapshot)
	if err != nil {
		return Snapshot{}, snapshotError("cannot inspect a snapshot", err)
	}
	return viewSnapshot(snap, p.forksOf()[snap.ID]), nil
}

// DeleteSnapshot removes a snapshot. Tasks that were forked from it or rolled back to it keep what they need.
func (p *Pyro) DeleteSnapshot(_ context.Context, r SnapshotRequest) (DeleteSnapshotResult, error) {
	snap, freed, err := p.snapshots().Delete(r.Snapshot)
	if err != nil {
		return DeleteSnapshotResult{}, snapshotError("cannot delete a snapshot", err)
	}
	return DeleteSnapshotResult{SnapshotID: snap.ID, Deleted: true, FreedBytes: freed}, nil
}

func snapshotError(what string, err error) error {
	out := &Error{Message: fmt.Sprintf("%s: %v", what, err), cause: err}
	if errors.Is(err, template.ErrNoSnapshot) {
		out.Kind, out.Cause = ErrNotFound, "no_snapshot"
	}
	return out
}

// forksOf gives the tasks that were made from snapshots, by those.
func (p *Pyro) forksOf() map[string][]string {
	of := map[string][]string{}
	ids, err := p.instances.IDs()
	if err != nil {
		return of // Then there is nobody to be told.
	}
	for _, id := range ids {
		if vm, err := p.status(id); err == nil && vm.From != "" {
			of[vm.From] = append(of[vm.From], id)
		}
	}
	return of
}

// snapshotLimit is how many bytes snapshots may take together before no other is made:
// $PYRO_SNAPSHOTS_MAX_BYTES, else 0, which is no limit.
func snapshotLimit() (int64, error) {
	limit, err := positive(0, "PYRO_SNAPSHOTS_MAX_BYTES", 0)
	return int64(limit), err
}

// roomForSnapshot refuses another snapshot if those there are take as much as they may.
func (p *Pyro) roomForSnapshot() error {
	limit, err := snapshotLimit()
	if err != nil || limit == 0 {
		return err
	}
	all, err := p.snapshots().List()
	if err != nil {
		return snapshotError("cannot take a snapshot", err)
	}
	var sum int64
	for _, snap := range all {
		sum += snap.Sizes().Own
	}
	if sum < limit {
		return nil
	}
	return &Error{
		Kind:  ErrLimitReached,
		Cause: "max_snapshots",
		Message: fmt.Sprintf("the %d snapshots that there are take %d bytes of the %d allowed", len(all), sum,
			limit),
	}
}

func viewSnapshot(snap template.Snapshot, forks []string) Snapshot {
	sizes := snap.Sizes()
	var vm record.VM
	_ = json.Unmarshal(snap.VM, &vm) // One that cannot be read has nothing to show.
	out := Snapshot{
		SnapshotID:    snap.ID,
		Name:          snap.Name,
		TaskID:        snap.Source,
		Environment:   vm.Environment,
		CreatedAt:     snap.CreatedAt,
		Memory:        snap.Memory,
		WithoutMemory: snap.WithoutMemory,
		MemMiB:        vm.MemMiB,
		PauseMS:       snap.PauseMS,
		MemoryBytes:   sizes.Memory,
		DiskBytes:     sizes.Disk,
		SharedBytes:   sizes.Base,
		Bytes:         sizes.Own,
		Forks:         append([]string{}, forks...),
		Commands:      []string{},
	}
	for _, c := range vm.Running {
		out.Commands = append(out.Commands, c.Command)
	}
	return out
}
