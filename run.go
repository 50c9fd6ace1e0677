package pyro

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/record"
)

// RunInVM runs one command in a fresh VM, which is gone afterwards. A command's failure or timeout is in the
// result, not an error. If the context ends, so does the VM.
func (p *Pyro) RunInVM(ctx context.Context, r RunInVMRequest) (RunInVMResult, error) {
	if err := p.checkRun(r); err != nil {
		return RunInVMResult{}, err
	}
	vm, err := p.describe(ctx, record.KindRun, r.Shape, nil)
	if err != nil {
		return RunInVMResult{}, err
	}
	if r.CommandLine, err = r.within(vm.Boot); err != nil {
		return RunInVMResult{}, err
	}
	with, err := r.files()
	if err != nil {
		return RunInVMResult{}, err
	}
	if with.seed.source != "" {
		vm.Boot.WorkDir = "" // the workspace
	}
	if with.spare, err = p.wishSpare(r.KeepWarm, vm); err != nil {
		return RunInVMResult{}, err
	}
	ready, err := p.taken(ctx, vm, r.Shape)
	if err != nil {
		return RunInVMResult{}, err
	}
	defer p.pool.Fill(vm)
	return p.runAndRemove(ctx, ready.Session, ready.VM, r.CommandLine, with)
}

// taken gives a VM for a run: one of the pool, else a spare, else a new one.
func (p *Pyro) taken(ctx context.Context, vm record.VM, shape Shape) (instances.Ready, error) {
	if ready, ok := p.pool.Take(vm); ok {
		return ready, nil
	}
	if ready, ok := p.instances.Claim(ctx, vm); ok {
		return ready, nil
	}
	s, err := p.createHeld(ctx, vm, shape)
	return instances.Ready{Session: s, VM: vm}, err
}

// runAndRemove starts a VM if it is not, runs its one command and removes it.
func (p *Pyro) runAndRemove(ctx context.Context, s *instances.Session, vm record.VM, c CommandLine,
	with runFiles) (_ RunInVMResult, err error) {
	took := phase.Start(p.log)
	var ahead sync.WaitGroup
	defer ahead.Wait()
	defer func() {
		call := context.WithoutCancel(ctx)
		if gone := s.Client.Call(call, link.OpDelete, link.Empty{}, nil); gone != nil {
			gone = p.instances.Discard(s.ID)
			err = errors.Join(err, gone)
		}
		s.Close()
		took.Done("VM removed", "vm", s.ID)
	}()
	if err := s.Client.Call(ctx, link.OpStart, link.Empty{}, &vm); err != nil {
		return RunInVMResult{}, fromLink("cannot start a guest", err)
	}
	took.Done("guest started", "vm", s.ID, "warm", vm.Warm)
	seed, err := p.before(ctx, s, with)
	if err != nil {
		return RunInVMResult{}, err
	}
	output, _, err := p.exec(ctx, s, c, true)
	if err != nil {
		return RunInVMResult{}, err
	}
	took.Done("command answered", "vm", s.ID)
	copies, missing, err := p.after(ctx, s, with)
	if err != nil {
		return RunInVMResult{}, err
	}
	ahead.Go(func() { p.warmLater(vm) }) // Both beside the end of this one.
	if with.spare != nil {
		missing = append(missing, with.spare.refused(vm)...)
		ahead.Go(func() { p.keepSpare(ctx, vm, *with.spare) })
	}
	return RunInVMResult{
		VMID:           s.ID,
		Environment:    vm.Environment,
		Command:        commandText(c),
		Output:         output,
		VCPUCount:      vm.VCPUCount,
		MemMiB:         vm.MemMiB,
		Accelerator:    vm.Accelerator,
		Isolation:      isolation(vm),
		Warm:           vm.Warm,
		VMMConfinement: vm.VMMConfinement,
		Confinement:    vm.Confinement,
		Warnings:       append([]string{}, slices.Concat(vm.Warnings, missing)...),
		WorkspaceSeed:  seed,
		Outputs:        copies,
	}, nil
}

func commandText(c CommandLine) string { return link.Exec{Command: c.Command, Argv: c.Argv}.Line() }
