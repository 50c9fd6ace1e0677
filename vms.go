package pyro

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// make describes a shape and makes a VM of it, while nobody prunes what it is made from.
func (p *Pyro) make(ctx context.Context, kind record.Kind, shape Shape, publish []string) (*session, record.VM, error) {
	vm, err := p.describe(ctx, kind, shape, publish)
	if err != nil {
		return nil, vm, err
	}
	s, err := p.createHeld(ctx, vm)
	return s, vm, err
}

// createHeld makes a VM while nobody prunes what it is made from.
func (p *Pyro) createHeld(ctx context.Context, vm record.VM) (*session, error) {
	release, err := p.store.Hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return p.create(ctx, vm)
}

// create makes a VM with a supervisor. The VM is bound to the session until it is complete.
func (p *Pyro) create(ctx context.Context, vm record.VM) (*session, error) {
	root := p.root()
	if _, err := p.sweep(); err != nil {
		// It is done in passing.
		p.log.Warn("cannot remove what a dead supervisor left", "error", err)
	}
	counted := countsAsLive
	if vm.Kind == record.KindBuild || vm.Kind == record.KindPool {
		counted = nil
	}
	id, lock, err := root.Create(vm.Kind, p.options.MaxActiveVMs, counted)
	if err != nil {
		return nil, limitReached(err)
	}
	s, err := p.spawn(id, lock)
	if err != nil {
		return nil, errors.Join(err, p.discard(id))
	}
	if err := s.client.Call(ctx, link.OpCreate, vm, nil); err != nil {
		s.Close()
		return nil, errors.Join(fromLink("cannot create a VM", err), p.discard(id))
	}
	return s, nil
}

// discard removes a VM that did not come to be. Its supervisor may be doing the same.
func (p *Pyro) discard(id string) error {
	err := p.destroy(context.Background(), id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// countsAsLive tells whether a VM counts against the limit.
func countsAsLive(id string) bool {
	for _, kind := range []record.Kind{record.KindRun, record.KindVM, record.KindTask} {
		if len(id) > len(kind) && id[:len(kind)] == string(kind) {
			return true
		}
	}
	return false
}

// RunInVM runs one command in a fresh VM, which is gone afterwards. A command's failure or time-out is in the
// result, not an error. Where the context ends, so does the VM.
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
	if ready, ok := p.pool.take(vm); ok {
		if vm.TTLSeconds > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(vm.TTLSeconds)*time.Second)
			defer cancel()
		}
		defer p.pool.fill(vm)
		return p.runAndRemove(ctx, ready.session, ready.vm, r.CommandLine)
	}
	s, err := p.createHeld(ctx, vm)
	if err != nil {
		return RunInVMResult{}, err
	}
	defer p.pool.fill(vm)
	return p.runAndRemove(ctx, s, vm, r.CommandLine)
}

// runAndRemove starts a VM where it is not, runs its one command and removes it.
func (p *Pyro) runAndRemove(ctx context.Context, s *session, vm record.VM, c CommandLine) (_ RunInVMResult, err error) {
	defer func() {
		call := context.WithoutCancel(ctx)
		if gone := s.client.Call(call, link.OpDelete, link.Empty{}, nil); gone != nil {
			gone = p.discard(s.id)
			err = errors.Join(err, gone)
		}
		s.Close()
	}()
	if err := s.client.Call(ctx, link.OpStart, link.Empty{}, &vm); err != nil {
		return RunInVMResult{}, fromLink("cannot start a guest", err)
	}
	output, _, err := p.exec(ctx, s, c, true)
	if err != nil {
		return RunInVMResult{}, err
	}
	p.warmLater(vm)
	return RunInVMResult{VMID: s.id, Environment: vm.Environment, Command: commandText(c), Output: output,
		VCPUCount: vm.VCPUCount, MemMiB: vm.MemMiB, Accelerator: vm.Accelerator, Confinement: vm.Confinement}, nil
}

func commandText(c CommandLine) string { return link.Exec{Command: c.Command, Argv: c.Argv}.Line() }

// CreateVM makes a VM that is not started.
func (p *Pyro) CreateVM(ctx context.Context, r CreateVMRequest) (VM, error) {
	s, vm, err := p.make(ctx, record.KindVM, r.Shape, nil)
	if err != nil {
		return VM{}, err
	}
	defer s.Close()
	if err := s.client.Call(ctx, link.OpSeeded, record.Seed{}, &vm); err != nil {
		return VM{}, fromLink("cannot create a VM", err)
	}
	return viewVM(vm), nil
}

// StartVM starts a created or stopped VM. On a started one it does nothing.
func (p *Pyro) StartVM(ctx context.Context, r VMRequest) (VM, error) {
	return p.ask(ctx, r.VMID, link.OpStart, "cannot start")
}

// StopVM ends the guest and keeps the VM. On a VM that is not started it does nothing.
func (p *Pyro) StopVM(ctx context.Context, r VMRequest) (VM, error) {
	return p.ask(ctx, r.VMID, link.OpStop, "cannot stop")
}

func (p *Pyro) ask(ctx context.Context, id string, op link.Op, failing string) (VM, error) {
	if err := p.mustBe(id, record.KindVM); err != nil {
		return VM{}, err
	}
	s, err := p.connectOrResume(ctx, id)
	if err != nil {
		return VM{}, err
	}
	defer s.Close()
	var vm record.VM
	if err := s.client.Call(ctx, op, link.Empty{}, &vm); err != nil {
		return VM{}, fromLink(fmt.Sprintf("%s %q", failing, id), err)
	}
	return viewVM(vm), nil
}

// ExecVM runs one command in a started VM and then removes that VM.
func (p *Pyro) ExecVM(ctx context.Context, r ExecVMRequest) (ExecVMResult, error) {
	if err := r.CommandLine.check(); err != nil {
		return ExecVMResult{}, err
	}
	if err := p.mustBe(r.VMID, record.KindVM); err != nil {
		return ExecVMResult{}, err
	}
	vm, _, err := p.status(r.VMID)
	if err != nil {
		return ExecVMResult{}, err
	}
	if vm.State != record.StateStarted {
		return ExecVMResult{}, &Error{Kind: ErrState, Message: fmt.Sprintf("VM %q is %s, not started", r.VMID, vm.State),
			Hint: "start it first"}
	}
	s, err := p.connectOrResume(ctx, r.VMID)
	if err != nil {
		return ExecVMResult{}, err
	}
	return p.runAndRemove(ctx, s, vm, r.CommandLine)
}

// DeleteVM ends a VM and removes all of it, in whatever state it is.
func (p *Pyro) DeleteVM(ctx context.Context, r VMRequest) (DeleteResult, error) {
	if err := p.mustBe(r.VMID, record.KindVM); err != nil {
		return DeleteResult{}, err
	}
	return p.delete(ctx, r.VMID)
}

func (p *Pyro) delete(ctx context.Context, id string) (DeleteResult, error) {
	if err := p.destroy(ctx, id); err != nil {
		return DeleteResult{}, err
	}
	return DeleteResult{Deleted: true}, nil
}

// StatusVM gives a VM's record.
func (p *Pyro) StatusVM(_ context.Context, r VMRequest) (VM, error) {
	if err := p.mustBe(r.VMID, record.KindVM); err != nil {
		return VM{}, err
	}
	vm, _, err := p.status(r.VMID)
	return viewVM(vm), err
}

// NetworkInfoVM tells of a VM's or a task's network.
func (p *Pyro) NetworkInfoVM(ctx context.Context, r VMRequest) (NetworkInfo, error) {
	vm, alive, err := p.status(r.VMID)
	if err != nil {
		return NetworkInfo{}, err
	}
	info := NetworkInfo{VMID: r.VMID, Enabled: vm.NetworkEnabled}
	if !vm.NetworkEnabled {
		return info, nil
	}
	decisions, err := record.Network[NetworkDecision](p.root().Path(r.VMID))
	if err != nil {
		return info, fmt.Errorf("cannot read the network's log of %q: %w", r.VMID, err)
	}
	info.Decisions = decisions
	if !alive {
		return info, nil
	}
	s, err := p.connect(ctx, r.VMID)
	if errors.Is(err, errDead) {
		return info, nil
	}
	if err != nil {
		return NetworkInfo{}, err
	}
	defer s.Close()
	if err := s.client.Call(ctx, link.OpNetwork, link.Empty{}, &info); err != nil {
		return NetworkInfo{}, fromLink(fmt.Sprintf("cannot ask for the network of %q", r.VMID), err)
	}
	info.VMID, info.Enabled = r.VMID, vm.NetworkEnabled
	return info, nil
}

// status reads a VM's record from disk, and tells whether its supervisor lives. A record that says started while
// nobody supervises it is given as what it is: stopped.
func (p *Pyro) status(id string) (vm record.VM, alive bool, err error) {
	root := p.root()
	if !root.Exists(id) {
		return vm, false, notFound(id)
	}
	alive = !root.Gone(id)
	vm, err = record.Load(root.Path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return vm, false, notFound(id)
	}
	if err != nil {
		return vm, false, &Error{Message: fmt.Sprintf("cannot read the record of %q: %v", id, err),
			Hint: "delete it, or use the version of pyro that wrote it", cause: err}
	}
	if !alive && vm.State != record.StateStopped {
		why := record.EndedWithout(vm)
		vm.State, vm.LastError = record.StateStopped, &why
	}
	return vm, alive, nil
}

// mustBe refuses an id of another kind.
func (p *Pyro) mustBe(id string, kind record.Kind) error {
	if !record.ValidID(id) || !p.root().Exists(id) {
		return notFound(id)
	}
	prefix := string(kind) + "-"
	if len(id) < len(prefix) || id[:len(prefix)] != prefix {
		return &Error{Kind: ErrNotFound, Message: fmt.Sprintf("%q is not a %s", id, kind)}
	}
	return nil
}

// connectOrResume reaches a VM's supervisor, and starts another one where it is gone.
func (p *Pyro) connectOrResume(ctx context.Context, id string) (*session, error) {
	for range 10 {
		s, err := p.connect(ctx, id)
		if !errors.Is(err, errDead) {
			return s, err
		}
		lock, err := p.root().Revive(id, p.options.MaxActiveVMs, countsAsLive)
		if errors.Is(err, record.ErrLocked) {
			continue // Somebody else was quicker.
		}
		if err != nil {
			return nil, limitReached(err)
		}
		s, err = p.spawn(id, lock)
		if err != nil {
			return nil, err
		}
		if err := s.client.Call(ctx, link.OpResume, link.Empty{}, nil); err != nil {
			s.Close()
			return nil, fromLink(fmt.Sprintf("cannot take over %q", id), err)
		}
		return s, nil
	}
	return nil, &Error{Kind: ErrGuestLost, Message: fmt.Sprintf("the supervisor of %q ends as often as it is started", id)}
}

func viewVM(v record.VM) VM {
	return VM{VMID: v.ID, Environment: v.Environment, State: string(v.State), VCPUCount: v.VCPUCount, MemMiB: v.MemMiB,
		TTLSeconds: v.TTLSeconds, CreatedAt: v.CreatedAt, ExpiresAt: v.ExpiresAt, NetworkEnabled: v.NetworkEnabled,
		AllowHostCompat: v.AllowHostCompat, ExecutionMode: v.ExecutionMode, LastError: v.LastError, Metadata: v.Metadata,
		Accelerator: v.Accelerator, Confinement: v.Confinement}
}

// exec runs one command over a session.
func (p *Pyro) exec(ctx context.Context, s *session, c CommandLine, last bool) (Output, link.ExecResult, error) {
	limit, err := c.timeout()
	if err != nil {
		return Output{}, link.ExecResult{}, err
	}
	var stdout, stderr record.Capture
	streams := link.Streams{Stdin: c.Streams.Stdin, Stdout: tee(c.Streams.Stdout, &stdout), Stderr: tee(c.Streams.Stderr, &stderr)}
	result, err := s.client.Exec(ctx, link.Exec{Command: c.Command, Argv: c.Argv, TimeoutMS: limit,
		Stdin: c.Streams.Stdin != nil, Last: last}, streams)
	if ctx.Err() != nil {
		return Output{}, result, context.Cause(ctx)
	}
	if err != nil {
		return Output{}, result, fromLink(fmt.Sprintf("cannot run the command in %q", s.id), err)
	}
	return Output{ExitCode: result.ExitCode, Stdout: stdout.String(), Stderr: stderr.String(),
		StdoutTruncated: stdout.Truncated(), StderrTruncated: stderr.Truncated(), TimedOut: result.TimedOut,
		DurationMS: result.DurationMS, ExecutionMode: result.Mode, Notice: result.Notice,
		Cause: string(result.Cause)}, result, nil
}

// decode reads JSON that crossed the link.
func decode[T any](data []byte) (v T, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}
