package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/network"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// handle answers one request.
func (s *supervisor) handle(ctx context.Context, req link.Request, stream *wire.Stream, c *session) (any, error) {
	switch req.Op {
	case link.OpHello:
		return link.Hello{Version: link.Version}, nil
	case link.OpCreate:
		return s.create(req)
	case link.OpResume:
		return s.resume(c)
	case link.OpStatus:
		return s.snapshot(), nil
	case link.OpStart:
		_, err := s.started(ctx)
		return s.snapshot(), err
	case link.OpStop:
		err := s.stop()
		return s.snapshot(), err
	case link.OpDelete:
		err := s.finish(true)
		c.bound.Store(false)
		s.end(errDeleted)
		return link.Empty{}, err
	case link.OpSeeded:
		return s.seeded(req, c)
	case link.OpExec:
		return s.exec(ctx, req, stream, c)
	case link.OpImport:
		return s.importTree(ctx, req, stream)
	case link.OpExport, link.OpSync:
		return s.pass(ctx, req, stream)
	case link.OpFollow:
		return s.follow(ctx, stream)
	case link.OpNetwork:
		return s.networkInfo()
	case link.OpWarm:
		return s.warm(c)
	}
	return nil, &link.Error{Code: link.CodeUnsupported, Message: fmt.Sprintf("the supervisor does not know %q", req.Op)}
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
		return nil, &link.Error{Code: link.CodeInvalid, Message: "the VM's description cannot be read: " + err.Error()}
	}
	if _, err := network.Parse(network.Config{Allow: vm.Allow, Publish: vm.Publish}); err != nil {
		return nil, &link.Error{Code: link.CodeInvalid, Message: err.Error()}
	}
	vm.ID, vm.State, vm.CreatedAt = s.id, record.StateCreated, time.Now().UTC().Truncate(time.Millisecond)
	vm.HostBootID = record.HostBootID()
	if vm.TTLSeconds > 0 {
		expires := vm.CreatedAt.Add(time.Duration(vm.TTLSeconds) * time.Second)
		vm.ExpiresAt = &expires
	}
	s.vm = vm
	close(s.ours)
	s.expiry.Reset(0)
	return vm, s.save()
}

// resume takes over the directory of a task whose supervisor is gone. Where it cannot, the directory stays as it is.
func (s *supervisor) resume(c *session) (any, error) {
	vm, err := record.Load(s.dir)
	if err != nil {
		return nil, &link.Error{Code: link.CodeState, Message: err.Error()}
	}
	history, err := record.History(s.dir, true)
	if err != nil {
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
	vm.CommandCount = s.sequence
	s.vm = vm
	if vm.State == record.StateStarted {
		s.fail(record.EndedWithout(vm))
	}
	s.vm.State, s.vm.HostBootID = record.StateStopped, record.HostBootID()
	if err := s.save(); err != nil {
		return nil, err
	}
	// Only now is it ours: until here the end of the caller, or an error, leaves it as it was found.
	s.left = false
	close(s.ours)
	c.bound.Store(false)
	s.expiry.Reset(0)
	return s.vm, nil
}

// seeded completes a creation: from now on the VM does not go with its creator.
func (s *supervisor) seeded(req link.Request, c *session) (any, error) {
	var seed record.Seed
	if err := json.Unmarshal(req.Params, &seed); err != nil {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "the seed's summary cannot be read: " + err.Error()}
	}
	if g := s.running(); g != nil && s.snapshot().Kind == record.KindTask && seed.EntryCount > 0 {
		if err := g.sync(); err != nil {
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

// pass hands an operation on to the guest as it is.
func (s *supervisor) pass(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	g := s.running()
	if g == nil {
		return nil, s.notStarted()
	}
	reply, err := link.Forward(ctx, stream, req, g.client, nil)
	if err != nil {
		return nil, s.lost(g, err)
	}
	if reply.Error != nil {
		return nil, reply.Error
	}
	return reply.Result, nil
}

// importTree hands a tree on to the guest, through the spool where its disk has one that is free.
func (s *supervisor) importTree(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	g := s.running()
	if g == nil {
		return nil, s.notStarted()
	}
	spool, err := s.openSpool(g)
	if err != nil {
		return nil, err
	}
	if spool == nil {
		return s.pass(ctx, req, stream)
	}
	defer spool.close()
	i, err := link.Decode[link.Import](req)
	if err != nil {
		return nil, err
	}
	result, err := g.client.ImportSpooled(ctx, i, stream, spool)
	if err != nil {
		return nil, s.lost(g, err)
	}
	return result, nil
}

// running gives the guest where one runs.
func (s *supervisor) running() *guest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guest
}

func (s *supervisor) notStarted() error {
	vm := s.snapshot()
	message := fmt.Sprintf("%q is %s, not started", vm.ID, vm.State)
	if vm.LastError != nil {
		message += ": " + *vm.LastError
	}
	return &link.Error{Code: link.CodeState, Message: message, Hint: "start it first"}
}

// fail notes what went wrong last. The caller holds mu.
func (s *supervisor) fail(message string) {
	s.vm.LastError = &message
	s.log.Warn("noted", "error", message)
}

// lost words the loss of a guest by what is known of it.
func (s *supervisor) lost(g *guest, err error) error {
	var far *link.Error
	if !errors.As(err, &far) || far.Code != link.CodeGuestLost {
		return err
	}
	return &link.Error{Code: link.CodeGuestLost, Message: g.epitaph(), Hint: far.Hint}
}

// stop ends the guest and keeps the disk.
func (s *supervisor) stop() error {
	s.boot.Lock()
	defer s.boot.Unlock()
	g := s.running()
	if g == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.vm.State = record.StateStopped
		return s.save()
	}
	g.shutdown()
	g.kill()
	<-g.noted
	return nil
}
