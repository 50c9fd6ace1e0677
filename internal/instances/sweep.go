package instances

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/pyro-mcp/pyro/internal/record"
)

// overdueBy is how long past its TTL a supervisor that lives is left to end its VM by itself.
const overdueBy = 5 * time.Second

// Reap removes VMs and tasks that are past their TTL, and what is orphaned and of no more use, and names
// them. What lives and is within its time is never touched, nor is a task whose record cannot be read.
func (i *Instances) Reap(ctx context.Context) ([]string, error) {
	swept, err := i.Sweep()
	failed := []error{err}
	ids, err := i.IDs()
	if err != nil {
		return nil, errors.Join(append(failed, err)...)
	}
	reaped := append([]string{}, swept...)
	for _, id := range ids {
		if !i.overdue(id) {
			continue
		}
		if err := i.Destroy(ctx, id); err != nil && !IsNotFound(err) {
			failed = append(failed, err)
			continue
		}
		reaped = append(reaped, id)
	}
	return reaped, errors.Join(failed...)
}

// overdue tells whether a VM lives past its time, which is its supervisor's to end.
func (i *Instances) overdue(id string) bool {
	vm, err := record.Load(i.Dir(id))
	return err == nil && vm.Expired(time.Now().Add(-overdueBy))
}

// Sweep removes what is orphaned and of no more use, and names it.
func (i *Instances) Sweep() ([]string, error) {
	return i.root.Sweep(func(id string) bool {
		vm, err := record.Load(i.Dir(id))
		return useless(id, vm, err)
	})
}

// useless tells whether an orphaned VM is of no more use.
func useless(id string, vm record.VM, loading error) bool {
	if !counts(id) || isOf(id, record.KindRun) {
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
