package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pyro-mcp/pyro/internal/guest"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// handle answers one request.
func (s *supervisor) handle(
	ctx context.Context, req link.Request, stream *wire.Stream, c *session,
) (any, error) {
	switch req.Op {
	case link.OpStart, link.OpStop, link.OpSeeded, link.OpExec, link.OpAttach, link.OpImport, link.OpExport,
		link.OpStat, link.OpRead, link.OpWrite, link.OpList, link.OpFetch, link.OpReplace, link.OpSync,
		link.OpWarm, link.OpSpare,
		link.OpJobStart, link.OpJobRead, link.OpJobAttach, link.OpJobWrite, link.OpJobStop:
		defer s.hold()()
	}
	switch req.Op {
	case link.OpHello:
		return link.Hello{Version: link.Version}, nil
	case link.OpCreate:
		return s.create(req)
	case link.OpResume:
		return s.resume(c)
	case link.OpStatus:
		return s.status(), nil
	case link.OpExtend:
		return s.extend(req)
	case link.OpStart:
		_, err := s.started(ctx)
		return s.snapshot(), err
	case link.OpStop:
		err := s.stop()
		return s.snapshot(), err
	case link.OpDelete:
		err := s.finish(true, false)
		c.bound.Store(false)
		s.end(errDeleted)
		return link.Empty{}, err
	case link.OpSeeded:
		return s.seeded(req, c)
	case link.OpExec:
		return s.exec(ctx, req, stream, c)
	case link.OpImport:
		if g := s.current(); g != nil {
			return g.Import(ctx, req, stream)
		}
		return nil, s.notStarted()
	case link.OpStat, link.OpRead, link.OpWrite, link.OpList, link.OpFetch, link.OpReplace,
		link.OpExport, link.OpSync, link.OpResize, link.OpCommands, link.OpDial:
		if g := s.current(); g != nil {
			return g.Pass(ctx, req, stream)
		}
		return nil, s.notStarted()
	case link.OpSignal:
		return s.signal(ctx, req, stream)
	case link.OpFollow:
		return s.follow(ctx, stream)
	case link.OpJobStart, link.OpJobList, link.OpJobRead, link.OpJobAttach, link.OpJobWrite, link.OpJobSignal,
		link.OpJobResize, link.OpJobWait, link.OpJobStop:
		return s.handleJob(ctx, req, stream)
	case link.OpForward, link.OpForwards, link.OpUnforward:
		return s.handleForward(ctx, req, stream)
	case link.OpNetwork:
		return s.networkInfo()
	case link.OpSnapshot:
		return s.takeSnapshot(ctx, req, c)
	case link.OpRollback:
		return s.rollback(ctx, req)
	case link.OpPause:
		return s.pause(ctx)
	case link.OpSpare:
		return s.spare(ctx, c)
	case link.OpClaim:
		return s.claim(ctx, req, c)
	case link.OpWarm:
		return s.warm(ctx, req, c)
	}
	return nil, &link.Error{Code: link.CodeUnsupported,
		Message: fmt.Sprintf("the supervisor does not know %q", req.Op)}
}

// warm makes a template of the VM's shape, which is all that the VM is for.
func (s *supervisor) warm(ctx context.Context, req link.Request, c *session) (any, error) {
	how, err := link.Decode[link.Warm](req)
	if err != nil {
		return nil, err
	}
	c.bound.Store(false)
	defer s.end(errDeleted)
	// It goes on without its client, who need not wait.
	return s.guests.Warm(context.WithoutCancel(ctx), s.spec(s.snapshot()), how.Background)
}

func (s *supervisor) snapshot() record.VM {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vm
}

// create takes over a new directory.
func (s *supervisor) create(req link.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vm.ID != "" {
		return nil, &link.Error{Code: link.CodeState, Message: "the VM exists already"}
	}
	var vm record.VM
	if err := json.Unmarshal(req.Params, &vm); err != nil {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "the VM's description cannot be read: " +
			err.Error()}
	}
	if err := guest.CheckRules(vm.Allow, vm.Publish); err != nil {
		return nil, &link.Error{Code: link.CodeInvalid, Message: err.Error()}
	}
	if vm.From != "" {
		if _, err := guest.KeepSnapshot(s.root.StateDir(), vm.From, "", s.dir, nil); err != nil {
			return nil, err
		}
		s.sequence = vm.CommandCount
	}
	vm.ID, vm.State, vm.CreatedAt = s.id, record.StateCreated, time.Now().UTC().Truncate(time.Millisecond)
	vm.HostBootID = record.HostBootID()
	vm.ExpiresAt = expiry(vm, vm.CreatedAt)
	s.vm = vm
	close(s.owned)
	s.expiry.Reset(0)
	return vm, s.save()
}

// resume takes over the directory of a task whose supervisor is gone. If it cannot, the directory stays as it
// is.
func (s *supervisor) resume(c *session) (any, error) {
	vm, err := record.Load(s.dir)
	if err != nil {
		return nil, &link.Error{Code: link.CodeState, Message: err.Error()}
	}
	history, err := record.History(s.dir, true)
	if err != nil {
		return nil, err
	}
	if err := s.loadJobs(vm.State == record.StatePaused); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vm.ID != "" {
		return nil, &link.Error{Code: link.CodeState, Message: "the VM is supervised already"}
	}
	for _, e := range history {
		s.sequence = max(s.sequence, e.Sequence)
		if e.Running {
			// What nobody saw end is written down as it was found, once.
			e = e.Interrupt()
			if err := record.Append(s.dir, e, true); err != nil {
				return nil, err
			}
		}
		vm.LastCommand = &record.LastCommand{Command: e.Command, ExitCode: e.ExitCode}
	}
	vm.CommandCount, vm.Current = s.sequence, nil
	s.vm = vm
	if vm.State == record.StateStarted {
		s.fail(record.EndedWithout(vm))
	}
	if s.vm.State != record.StatePaused {
		s.vm.State = record.StateStopped
	}
	s.vm.HostBootID = record.HostBootID()
	if err := s.save(); err != nil {
		return nil, err
	}
	go s.reopenForwards(vm.Forwards)
	// Only now is it owned: until here the end of the caller, or an error, leaves it as it was found.
	s.orphaned = false
	close(s.owned)
	c.bound.Store(false)
	s.expiry.Reset(0)
	return s.vm, nil
}

// seeded completes a creation: from now on the VM does not go with its creator.
func (s *supervisor) seeded(req link.Request, c *session) (any, error) {
	var seed record.Seed
	if err := json.Unmarshal(req.Params, &seed); err != nil {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "the seed's summary cannot be read: " +
			err.Error()}
	}
	if g := s.current(); g != nil && s.snapshot().Kind == record.KindTask && seed.EntryCount > 0 {
		if err := g.Sync(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seed.Mode != "" {
		s.vm.Seed = &seed
	}
	s.vm.Complete = true
	if err := s.save(); err != nil {
		return nil, err
	}
	c.bound.Store(false)
	return s.vm, nil
}

// networkInfo tells of the guest's network as it is now.
func (s *supervisor) networkInfo() (any, error) {
	if g := s.current(); g != nil {
		return g.NetworkInfo(), nil
	}
	return guest.NoNetwork(s.snapshot().NetworkEnabled), nil
}

func (s *supervisor) notStarted() error {
	vm := s.snapshot()
	message := fmt.Sprintf("%q is %s, not started", vm.ID, vm.State)
	if vm.LastError != nil {
		message += ": " + *vm.LastError
	}
	return &link.Error{Code: link.CodeState, Cause: link.CauseNotStarted, Message: message}
}

// fail notes what went wrong last. The caller holds mu.
func (s *supervisor) fail(message string) {
	s.vm.LastError = &message
	s.log.Warn("noted", "error", message)
}
