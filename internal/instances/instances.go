// Package instances is the VMs of one state directory, seen from outside: it spawns their supervisors,
// reaches and revives them, ends them, sweeps what is orphaned, and counts those that live against the limit.
package instances

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// Options say where the VMs are, and how many may live.
type Options struct {
	StateDir  string
	Command   string // the pyro executable that supervises VMs; empty finds it
	MaxActive int    // how many runs, VMs and tasks may live at once
	// Wait is how long one whose supervisor is gone waits for a place before it is supervised again.
	Wait time.Duration
	Log  *slog.Logger
}

// Instances are the VMs of one state directory. Several processes may share it. Its errors are [*link.Error]
// if somebody above may have a choice.
type Instances struct {
	options Options
	root    record.Root
	turn    chan struct{} // held by who of this process is next to have a place
}

// Open gives the VMs of a state directory. Nothing is made until a VM is.
func Open(o Options) *Instances {
	return &Instances{options: o, root: record.NewRoot(o.StateDir), turn: make(chan struct{}, 1)}
}

// Dir is the directory of a VM.
func (i *Instances) Dir(id string) string { return i.root.Path(id) }

// IDs lists the VMs, sorted.
func (i *Instances) IDs() ([]string, error) { return i.root.IDs() }

// Alive tells whether a VM has a supervisor.
func (i *Instances) Alive(id string) bool { return !i.root.Gone(id) }

// Create makes a VM with a supervisor, in a place that is there at once. The VM is bound to the session until
// it is complete.
func (i *Instances) Create(ctx context.Context, vm record.VM) (*Session, error) {
	place, err := i.Take(ctx, vm.Kind, Wait{})
	if err != nil {
		return nil, err
	}
	return i.Fill(ctx, place, vm)
}

// Fill makes a VM with a supervisor in a place, which it gives back if it fails. The VM is bound to the
// session until it is complete.
func (i *Instances) Fill(ctx context.Context, place Place, vm record.VM) (*Session, error) {
	release, err := i.holdName(vm.Name)
	if err != nil {
		return nil, errors.Join(err, i.Leave(place))
	}
	defer release()
	return i.begin(ctx, place.id, place.lock, vm)
}

// begin gives a new directory its supervisor, and that the VM's description.
func (i *Instances) begin(ctx context.Context, id string, lock *os.File, vm record.VM) (*Session, error) {
	s, err := i.spawn(id, lock)
	if err != nil {
		return nil, errors.Join(err, i.Discard(id))
	}
	if err := s.Client.Call(ctx, link.OpCreate, vm, nil); err != nil {
		s.Close()
		return nil, errors.Join(about("cannot create a VM", err), i.Discard(id))
	}
	return s, nil
}

// Status reads a VM's record from disk, and tells whether its supervisor lives. A record that says started
// while nobody supervises it is given as what it is: stopped.
func (i *Instances) Status(id string) (vm record.VM, alive bool, err error) {
	if !i.root.Exists(id) {
		return vm, false, i.notFound(id)
	}
	alive = i.Alive(id)
	vm, err = record.Load(i.Dir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return vm, false, i.notFound(id)
	}
	if err != nil {
		return vm, false, &link.Error{
			Code:    link.CodeInternal,
			Cause:   CauseBadRecord,
			Message: fmt.Sprintf("cannot read the record of %q: %v", id, err),
		}
	}
	if !alive && vm.State != record.StateStopped && vm.State != record.StatePaused {
		why := record.EndedWithout(vm)
		vm.State, vm.LastError = record.StateStopped, &why
	}
	return vm, alive, nil
}

// isOf tells whether an id is of a kind.
func isOf(id string, kind record.Kind) bool {
	prefix := string(kind) + "-"
	return len(id) > len(prefix) && id[:len(prefix)] == prefix
}

// counts tells whether a VM counts against the limit.
func (i *Instances) counts(id string) bool {
	return isUsers(id) || isOf(id, record.KindPool) && i.root.WasSpare(id)
}

// isUsers tells whether a VM was made for a user, and not for pyro itself.
func isUsers(id string) bool {
	return isOf(id, record.KindRun) || isOf(id, record.KindVM) || isOf(id, record.KindTask)
}
