package pyro

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// CreateTask makes a task and starts it, its workspace seeded. What cannot be done whole leaves nothing behind.
func (p *Pyro) CreateTask(ctx context.Context, r CreateTaskRequest) (Task, error) {
	if r.SourcePath != "" {
		if err := archive.Check(r.SourcePath); err != nil {
			return Task{}, badSeed(r.SourcePath, err)
		}
	}
	if err := r.CommandSettings.check(); err != nil {
		return Task{}, err
	}
	vm, err := p.describe(ctx, record.KindTask, r.Shape, r.Publish)
	if err != nil {
		return Task{}, err
	}
	s, err := p.createHeld(ctx, r.CommandSettings.over(vm))
	if err != nil {
		return Task{}, err
	}
	defer s.Close()
	task, err := p.fill(ctx, s, r.SourcePath)
	if err != nil {
		return Task{}, errors.Join(err, p.instances.Discard(s.ID))
	}
	return task, nil
}

// fill starts a new task's guest, seeds it and completes its creation.
func (p *Pyro) fill(ctx context.Context, s *instances.Session, source string) (Task, error) {
	if err := s.Client.Call(ctx, link.OpStart, link.Empty{}, nil); err != nil {
		return Task{}, fromLink("cannot start a guest", err)
	}
	seed := record.Seed{Mode: "empty", Destination: Workspace}
	if source != "" {
		var err error
		if seed, err = p.seed(ctx, s, source); err != nil {
			return Task{}, err
		}
	}
	var vm record.VM
	if err := s.Client.Call(ctx, link.OpSeeded, seed, &vm); err != nil {
		return Task{}, fromLink("cannot create a task", err)
	}
	return viewTask(vm), nil
}

// seed streams a tree into a guest: nothing of it is ever held whole, here or there.
func (p *Pyro) seed(ctx context.Context, s *instances.Session, source string) (record.Seed, error) {
	limits, err := seedLimits()
	if err != nil {
		return record.Seed{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	type packed struct {
		summary archive.Summary
		err     error
	}
	done := make(chan packed, 1)
	go func() {
		buffered := bufio.NewWriterSize(w, 256<<10)
		summary, err := archive.Pack(ctx, buffered, source, limits)
		if err == nil {
			err = buffered.Flush()
		}
		w.CloseWithError(err)
		done <- packed{summary, err}
	}()
	result, err := s.Client.Import(ctx, link.Import{Destination: Workspace, MaxEntries: limits.MaxEntries, MaxBytes: limits.MaxBytes}, r)
	r.CloseWithError(io.ErrClosedPipe)
	cancel()
	sent := <-done
	// What went wrong on the reading side is the cause; that the guest then missed its end is the consequence.
	if sent.err != nil && !errors.Is(sent.err, io.ErrClosedPipe) && !(err != nil && errors.Is(sent.err, context.Canceled)) {
		return record.Seed{}, badSeed(source, sent.err)
	}
	if err != nil {
		return record.Seed{}, fromLink(fmt.Sprintf("cannot seed the workspace from %q", source), err)
	}
	return record.Seed{Mode: sent.summary.Mode, SourcePath: &source, Destination: Workspace, EntryCount: result.Entries,
		BytesWritten: result.Bytes}, nil
}

func badSeed(source string, err error) error {
	out := &Error{Kind: ErrBadSeed, Message: fmt.Sprintf("cannot seed the workspace from %q: %v", source, err), cause: err}
	if errors.Is(err, archive.ErrLimit) {
		out.Cause = "seed_limit"
	}
	return out
}

// ExecTask runs one command in a task, which lives on. Several may run at once. A task whose guest has ended is
// started again first.
func (p *Pyro) ExecTask(ctx context.Context, r ExecTaskRequest) (ExecTaskResult, error) {
	if err := r.CommandLine.check(); err != nil {
		return ExecTaskResult{}, err
	}
	if err := p.mustBe(r.TaskID, record.KindTask); err != nil {
		return ExecTaskResult{}, err
	}
	s, err := p.reach(ctx, r.TaskID)
	if err != nil {
		return ExecTaskResult{}, err
	}
	defer s.Close()
	output, result, err := p.exec(ctx, s, r.CommandLine, false)
	if err != nil {
		return ExecTaskResult{}, err
	}
	return ExecTaskResult{TaskID: r.TaskID, Sequence: result.Sequence, CWD: Workspace, Command: commandText(r.CommandLine),
		Output: output}, nil
}

// StatusTask gives a task's record.
func (p *Pyro) StatusTask(_ context.Context, r TaskRequest) (Task, error) {
	if err := p.mustBe(r.TaskID, record.KindTask); err != nil {
		return Task{}, err
	}
	vm, err := p.status(r.TaskID)
	return viewTask(vm), err
}

// StartTask starts a stopped task. On a started one it does nothing.
func (p *Pyro) StartTask(ctx context.Context, r TaskRequest) (Task, error) {
	vm, err := p.ask(ctx, r.TaskID, record.KindTask, link.OpStart, link.Empty{}, "cannot start")
	return viewTask(vm), err
}

// StopTask ends a task's guest and keeps its files. The next command starts it again. On a task that is not started it
// does nothing.
func (p *Pyro) StopTask(ctx context.Context, r TaskRequest) (Task, error) {
	vm, err := p.ask(ctx, r.TaskID, record.KindTask, link.OpStop, link.Empty{}, "cannot stop")
	return viewTask(vm), err
}

// ExtendTask begins a task's idle TTL anew, with another length if one is given.
func (p *Pyro) ExtendTask(ctx context.Context, r ExtendTaskRequest) (Task, error) {
	if r.TTLSeconds != nil {
		if err := ParameterNamed("ttl_seconds").check(*r.TTLSeconds); err != nil {
			return Task{}, err
		}
	}
	vm, err := p.ask(ctx, r.TaskID, record.KindTask, link.OpExtend, link.Extend{TTLSeconds: r.TTLSeconds}, "cannot extend")
	return viewTask(vm), err
}

// DeleteTask ends a task and removes all of it, in whatever state it is.
func (p *Pyro) DeleteTask(ctx context.Context, r TaskRequest) (DeleteResult, error) {
	if err := p.mustBe(r.TaskID, record.KindTask); err != nil {
		return DeleteResult{}, err
	}
	return p.destroy(ctx, r.TaskID)
}

func viewTask(v record.VM) Task {
	t := Task{TaskID: v.ID, Environment: v.Environment, State: string(v.State), WorkspacePath: Workspace, VCPUCount: v.VCPUCount,
		MemMiB: v.MemMiB, TTLSeconds: v.TTLSeconds, CreatedAt: v.CreatedAt, ExpiresAt: v.ExpiresAt, NetworkEnabled: v.NetworkEnabled,
		AllowHostCompat: v.AllowHostCompat, ExecutionMode: v.ExecutionMode, CommandCount: v.CommandCount,
		WorkspaceSeed: WorkspaceSeed{Mode: "empty", Destination: Workspace}, LastError: v.LastError, Metadata: v.Metadata,
		Accelerator: v.Accelerator, Confinement: v.Confinement,
		VMMConfinement: v.VMMConfinement}
	for _, c := range v.Running {
		t.Running = append(t.Running, RunningCommand(c))
	}
	if v.LastCommand != nil {
		t.LastCommand = (*LastCommand)(v.LastCommand)
	}
	if v.Seed != nil {
		t.WorkspaceSeed = WorkspaceSeed(*v.Seed)
	}
	return t
}

// seedLimits bound what a workspace is filled with: $PYRO_SEED_MAX_ENTRIES and $PYRO_SEED_MAX_BYTES, else the
// archive's own defaults.
func seedLimits() (archive.Limits, error) {
	entries, err := positive(0, "PYRO_SEED_MAX_ENTRIES", 0)
	if err != nil {
		return archive.Limits{}, err
	}
	bytes, err := positive(0, "PYRO_SEED_MAX_BYTES", 0)
	return archive.Limits{MaxEntries: int64(entries), MaxBytes: int64(bytes)}, err
}
