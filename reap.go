package pyro

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/pyro-mcp/pyro/internal/record"
)

// overdueBy is how long past its TTL a supervisor that lives is left to end its VM by itself.
const overdueBy = 5 * time.Second

// ReapExpired removes VMs and tasks that are past their TTL, and what dead supervisors left. What lives and is
// within its time is never touched, nor is a task whose record cannot be read.
func (p *Pyro) ReapExpired(ctx context.Context) (ReapResult, error) {
	swept, err := p.sweep()
	failed := []error{err}
	ids, err := p.root().IDs()
	if err != nil {
		return ReapResult{}, errors.Join(append(failed, err)...)
	}
	out := ReapResult{Reaped: append([]string{}, swept...)}
	for _, id := range ids {
		if !p.overdue(id) {
			continue
		}
		if err := p.destroy(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
			failed = append(failed, err)
			continue
		}
		out.Reaped = append(out.Reaped, id)
	}
	out.Count = len(out.Reaped)
	return out, errors.Join(failed...)
}

// overdue tells whether a VM lives past its time, which is its supervisor's to end.
func (p *Pyro) overdue(id string) bool {
	vm, err := record.Load(p.root().Path(id))
	return err == nil && vm.Expired(time.Now().Add(-overdueBy))
}

// leftover tells whether what a dead supervisor left is of no more use.
func leftover(id string, vm record.VM, loading error) bool {
	if !countsAsLive(id) || id[:3] == string(record.KindRun) {
		return true // It was bound to somebody, who is gone.
	}
	if errors.Is(loading, fs.ErrNotExist) {
		return true // Its making or its removal was broken off.
	}
	if loading != nil {
		return false
	}
	return !vm.Complete || vm.Expired(time.Now())
}

// sweep removes what dead supervisors left.
func (p *Pyro) sweep() ([]string, error) {
	root := p.root()
	return root.Sweep(func(id string) bool {
		vm, err := record.Load(root.Path(id))
		return leftover(id, vm, err)
	})
}

// ListVMs gives all that lives or is kept. Records that cannot be read are left out.
func (p *Pyro) ListVMs(context.Context) (ListVMsResult, error) {
	ids, err := p.root().IDs()
	if err != nil {
		return ListVMsResult{}, err
	}
	out := ListVMsResult{VMs: []VM{}, Tasks: []Task{}}
	for _, id := range ids {
		vm, _, err := p.status(id)
		if err != nil {
			continue
		}
		switch vm.Kind {
		case record.KindTask:
			out.Tasks = append(out.Tasks, viewTask(vm))
		case record.KindVM, record.KindRun:
			out.VMs = append(out.VMs, viewVM(vm))
		}
	}
	return out, nil
}

// ListVMsResult is all that lives or is kept in the state directory.
type ListVMsResult struct {
	VMs   []VM   `json:"vms"`
	Tasks []Task `json:"tasks"`
}
