package pyro

import (
	"context"
	"errors"
	"time"

	"github.com/pyro-mcp/pyro/internal/record"
)

// overdue is how long past its TTL a supervisor that lives is left to end its VM by itself.
const overdue = 5 * time.Second

// ReapExpired removes VMs and tasks that are past their TTL, and what dead supervisors left. What lives and is
// within its time is never touched, nor is a task whose record cannot be read.
func (p *Pyro) ReapExpired(ctx context.Context) (ReapResult, error) {
	ids, err := p.root().IDs()
	if err != nil {
		return ReapResult{}, err
	}
	out := ReapResult{Reaped: []string{}}
	var failed []error
	for _, id := range ids {
		if !p.reapable(id) {
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

func (p *Pyro) reapable(id string) bool {
	root := p.root()
	vm, err := record.Load(root.Path(id))
	if root.Gone(id) {
		return leftover(id, vm, err)
	}
	return err == nil && vm.Expired(time.Now().Add(-overdue))
}

// leftover tells whether what a dead supervisor left is of no more use.
func leftover(id string, vm record.VM, loading error) bool {
	if !countsAsLive(id) || id[:3] == string(record.KindRun) {
		return true // It was bound to somebody, who is gone.
	}
	if loading != nil {
		return false
	}
	return !vm.Complete || vm.Expired(time.Now())
}

// sweep removes what dead supervisors left, quietly: it is done in passing.
func (p *Pyro) sweep() {
	root := p.root()
	err := root.Sweep(func(id string) bool {
		vm, err := record.Load(root.Path(id))
		return leftover(id, vm, err)
	})
	if err != nil {
		p.log.Warn("cannot remove what a dead supervisor left", "error", err)
	}
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
