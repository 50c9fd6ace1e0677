package pyro

import (
	"context"
	"errors"
	"slices"

	"github.com/pyro-mcp/pyro/internal/record"
)

// ReapExpired removes VMs and tasks that are past their TTL, and what is orphaned. What lives and is within
// its time is never touched, nor is a task whose record cannot be read.
func (p *Pyro) ReapExpired(ctx context.Context) (ReapResult, error) {
	reaped, err := p.instances.Reap(ctx)
	_, unswept := p.snapshots().Sweep()
	err = errors.Join(err, unswept)
	return ReapResult{Count: len(reaped), Reaped: append([]string{}, reaped...)}, err
}

// ListTasks gives the tasks that live or are kept, oldest first.
func (p *Pyro) ListTasks(ctx context.Context, r ListTasksRequest) (ListTasksResult, error) {
	all, err := p.ListVMs(ctx)
	if err != nil {
		return ListTasksResult{}, err
	}
	out := ListTasksResult{Tasks: []Task{}}
	for _, t := range all.Tasks {
		if has(t.Metadata, r.Labels) {
			out.Tasks = append(out.Tasks, t)
		}
	}
	slices.SortFunc(out.Tasks, func(a, b Task) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

// has tells whether all of some entries are among others.
func has(metadata, labels map[string]string) bool {
	for key, want := range labels {
		if value, ok := metadata[key]; !ok || value != want {
			return false
		}
	}
	return true
}

// ListVMs gives all that lives or is kept. Records that cannot be read are left out.
func (p *Pyro) ListVMs(context.Context) (ListVMsResult, error) {
	ids, err := p.instances.IDs()
	if err != nil {
		return ListVMsResult{}, err
	}
	out := ListVMsResult{VMs: []VM{}, Spares: []VM{}, Tasks: []Task{}}
	for _, id := range ids {
		vm, err := p.status(id)
		if err != nil {
			continue
		}
		switch vm.Kind {
		case record.KindTask:
			out.Tasks = append(out.Tasks, viewTask(vm))
		case record.KindPool:
			if p.instances.IsSpare(id) && p.instances.Alive(id) {
				out.Spares = append(out.Spares, viewVM(vm))
			}
		case record.KindVM, record.KindRun:
			out.VMs = append(out.VMs, viewVM(vm))
		}
	}
	return out, nil
}
