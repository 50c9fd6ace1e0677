package instances

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
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
		if !i.overdue(ctx, id) {
			continue
		}
		failed = append(failed, i.bury(id))
		if err := i.Destroy(ctx, id); err != nil && !IsNotFound(err) {
			failed = append(failed, err)
			continue
		}
		reaped = append(reaped, id)
	}
	return reaped, errors.Join(failed...)
}

// overdue tells whether a VM lives past its time, which is its supervisor's to end. A supervisor that
// answers knows better than the record: a host that slept may have let the time go by under a command.
func (i *Instances) overdue(ctx context.Context, id string) bool {
	vm, err := record.Load(i.Dir(id))
	if err != nil || !vm.Expired(time.Now().Add(-overdueBy)) {
		return false
	}
	if !i.Alive(id) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, overdueBy)
	defer cancel()
	s, err := i.Connect(ctx, id)
	if err != nil {
		return ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
	defer s.Close()
	if err := s.Client.Call(ctx, link.OpStatus, link.Empty{}, &vm); err != nil {
		return true
	}
	return vm.Expired(time.Now())
}

// Sweep removes what is orphaned and of no more use, and names it.
func (i *Instances) Sweep() ([]string, error) {
	return i.root.Sweep(func(id string) bool {
		vm, err := record.Load(i.Dir(id))
		if !useless(id, vm, err) {
			return false
		}
		if err := i.bury(id); err != nil {
			i.options.Log.Warn("cannot note what has expired", "error", err)
		}
		return true
	})
}

// bury remembers a VM that is removed because it has expired; others are not remembered.
func (i *Instances) bury(id string) error {
	vm, err := record.Load(i.Dir(id))
	if err != nil || !vm.Complete || !vm.Expired(time.Now()) || isOf(id, record.KindRun) || !isUsers(id) {
		return nil
	}
	return i.root.Bury(record.Grave{
		ID:         id,
		Name:       vm.Name,
		ExpiredAt:  *vm.ExpiresAt,
		TTLSeconds: vm.TTLSeconds,
	})
}

// useless tells whether an orphaned VM is of no more use.
func useless(id string, vm record.VM, loading error) bool {
	if !isUsers(id) || isOf(id, record.KindRun) {
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
