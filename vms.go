package pyro

import (
	"context"
	"fmt"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// CreateVM makes a VM that is not started.
func (p *Pyro) CreateVM(ctx context.Context, r CreateVMRequest) (VM, error) {
	s, vm, err := p.make(ctx, record.KindVM, r.Shape, nil)
	if err != nil {
		return VM{}, err
	}
	defer s.Close()
	if err := s.Client.Call(ctx, link.OpSeeded, record.Seed{}, &vm); err != nil {
		return VM{}, fromLink("cannot create a VM", err)
	}
	return viewVM(vm), nil
}

// StartVM starts a created or stopped VM. On a started one it does nothing.
func (p *Pyro) StartVM(ctx context.Context, r VMRequest) (VM, error) {
	vm, err := p.ask(ctx, r.VMID, record.KindVM, link.OpStart, link.Empty{}, "cannot start")
	return viewVM(vm), err
}

// StopVM ends the guest and keeps the VM. On a VM that is not started it does nothing.
func (p *Pyro) StopVM(ctx context.Context, r VMRequest) (VM, error) {
	vm, err := p.ask(ctx, r.VMID, record.KindVM, link.OpStop, link.Empty{}, "cannot stop")
	return viewVM(vm), err
}

// ExecVM runs one command in a started VM and then removes that VM.
func (p *Pyro) ExecVM(ctx context.Context, r ExecVMRequest) (ExecVMResult, error) {
	if err := r.CommandLine.check(); err != nil {
		return ExecVMResult{}, err
	}
	if err := p.resolve(&r.VMID, record.KindVM); err != nil {
		return ExecVMResult{}, err
	}
	vm, err := p.status(r.VMID)
	if err != nil {
		return ExecVMResult{}, err
	}
	if vm.State != record.StateStarted {
		return ExecVMResult{}, &Error{
			Kind:    ErrState,
			Cause:   string(link.CauseNotStarted),
			Message: fmt.Sprintf("VM %q is %s, not started", r.VMID, vm.State),
		}
	}
	s, err := p.reach(ctx, r.VMID)
	if err != nil {
		return ExecVMResult{}, err
	}
	return p.runAndRemove(ctx, s, vm, r.CommandLine, runFiles{})
}

// DeleteVM ends a VM and removes all of it, in whatever state it is.
func (p *Pyro) DeleteVM(ctx context.Context, r VMRequest) (DeleteResult, error) {
	if err := p.resolve(&r.VMID, record.KindVM); err != nil {
		return DeleteResult{}, err
	}
	return p.destroy(ctx, r.VMID)
}

// StatusVM gives a VM's record.
func (p *Pyro) StatusVM(_ context.Context, r VMRequest) (VM, error) {
	if err := p.resolve(&r.VMID, record.KindVM); err != nil {
		return VM{}, err
	}
	vm, err := p.status(r.VMID)
	return viewVM(vm), err
}

func viewVM(v record.VM) VM {
	return VM{
		VMID:            v.ID,
		Environment:     v.Environment,
		State:           string(v.State),
		VCPUCount:       v.VCPUCount,
		MemMiB:          v.MemMiB,
		TTLSeconds:      v.TTLSeconds,
		CreatedAt:       v.CreatedAt,
		ExpiresAt:       v.ExpiresAt,
		NetworkEnabled:  v.NetworkEnabled,
		AllowHostCompat: v.AllowHostCompat,
		ExecutionMode:   v.ExecutionMode,
		LastError:       v.LastError,
		Metadata:        v.Metadata,
		Accelerator:     v.Accelerator,
		Isolation:       isolation(v),
		Confinement:     v.Confinement,
		Warm:            v.Warm,
		VMMConfinement:  v.VMMConfinement,
		Warnings:        append([]string{}, v.Warnings...),
	}
}
