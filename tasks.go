package pyro

import (
	"context"
	"errors"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// CreateTask makes a task and starts it, its workspace seeded. What cannot be done whole leaves nothing
// behind.
func (p *Pyro) CreateTask(ctx context.Context, r CreateTaskRequest) (Task, error) {
	if err := r.seeding().check(); err != nil {
		return Task{}, err
	}
	if err := r.CommandSettings.check(); err != nil {
		return Task{}, err
	}
	if r.Name != "" {
		// Before anything is fetched; and again when the task is made.
		if err := p.instances.CheckName(r.Name); err != nil {
			return Task{}, fromLink("", err)
		}
	}
	vm, err := p.describe(ctx, record.KindTask, r.Shape, r.Publish)
	if err != nil {
		return Task{}, err
	}
	vm.Name = r.Name
	s, err := p.createHeld(ctx, r.CommandSettings.over(vm), r.Shape)
	if err != nil {
		return Task{}, err
	}
	defer s.Close()
	task, err := p.fill(ctx, s, r.seeding())
	if err != nil {
		return Task{}, errors.Join(err, p.instances.Discard(s.ID))
	}
	return task, nil
}

func (r CreateTaskRequest) seeding() seeding {
	return seeding{
		source:         r.SourcePath,
		strict:         r.Strict,
		exclude:        r.Exclude,
		includeIgnored: r.IncludeIgnored,
		keep:           true,
		progress:       r.Progress,
	}
}

// fill starts a new task's guest, seeds it and completes its creation.
func (p *Pyro) fill(ctx context.Context, s *instances.Session, from seeding) (Task, error) {
	if err := s.Client.Call(ctx, link.OpStart, link.Empty{}, nil); err != nil {
		return Task{}, fromLink("cannot start a guest", err)
	}
	seed := record.Seed{Mode: "empty", Destination: Workspace}
	if from.source != "" {
		var err error
		if seed, err = p.seed(ctx, s, from); err != nil {
			return Task{}, err
		}
	}
	var vm record.VM
	if err := s.Client.Call(ctx, link.OpSeeded, seed, &vm); err != nil {
		return Task{}, fromLink("cannot create a task", err)
	}
	return viewTask(vm), nil
}

// ExecTask runs one command in a task, which lives on. Several may run at once. A task whose guest has ended
// is started again first.
func (p *Pyro) ExecTask(ctx context.Context, r ExecTaskRequest) (ExecTaskResult, error) {
	if err := r.CommandLine.check(); err != nil {
		return ExecTaskResult{}, err
	}
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
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
	return ExecTaskResult{
		TaskID:   r.TaskID,
		Sequence: result.Sequence,
		CWD:      Workspace,
		Command:  commandText(r.CommandLine),
		Output:   output,
	}, nil
}

// StatusTask gives a task's record.
func (p *Pyro) StatusTask(_ context.Context, r TaskRequest) (Task, error) {
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
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

// StopTask ends a task's guest and keeps its files. The next command starts it again. On a task that is not
// started it does nothing.
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
	with := link.Extend{TTLSeconds: r.TTLSeconds}
	vm, err := p.ask(ctx, r.TaskID, record.KindTask, link.OpExtend, with, "cannot extend")
	return viewTask(vm), err
}

// DeleteTask ends a task and removes all of it, in whatever state it is.
func (p *Pyro) DeleteTask(ctx context.Context, r TaskRequest) (DeleteResult, error) {
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
		return DeleteResult{}, err
	}
	return p.destroy(ctx, r.TaskID)
}

func viewTask(v record.VM) Task {
	t := Task{
		TaskID:          v.ID,
		Name:            v.Name,
		Environment:     v.Environment,
		State:           string(v.State),
		WorkspacePath:   Workspace,
		VCPUCount:       v.VCPUCount,
		MemMiB:          v.MemMiB,
		TTLSeconds:      v.TTLSeconds,
		CreatedAt:       v.CreatedAt,
		ExpiresAt:       v.ExpiresAt,
		NetworkEnabled:  v.NetworkEnabled,
		AllowHostCompat: v.AllowHostCompat,
		ExecutionMode:   v.ExecutionMode,
		CommandCount:    v.CommandCount,
		WorkspaceSeed:   WorkspaceSeed{Mode: "empty", Destination: Workspace},
		LastError:       v.LastError,
		Metadata:        v.Metadata,
		Accelerator:     v.Accelerator,
		Isolation:       isolation(v),
		Confinement:     v.Confinement,
		Warm:            v.Warm,
		VMMConfinement:  v.VMMConfinement,
		Warnings:        append([]string{}, v.Warnings...),
		ForkedFrom:      v.From,
	}
	for _, c := range v.Current {
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
