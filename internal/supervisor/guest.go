package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/network"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// How long a guest may take to end by itself before it is ended, and to write its disk before a command's caller is
// answered.
const (
	shutdownLimit = 3 * time.Second
	syncLimit     = 20 * time.Second
)

// machine is what a guest runs in: a monitor's process, or the host itself, confined.
type machine interface {
	Done() <-chan struct{}
	Err() error
	Kill() error
}

// guest is a running guest and all that it needs. kill ends it and lets go of everything.
type guest struct {
	client      *link.Client
	machine     machine
	wire        *wire.Conn
	pipe        io.ReadWriteCloser // under wire
	console     *console
	network     *network.Network // nil without one
	mode        string           // the execution mode
	accelerator string
	mem         int
	warm        bool   // started from a template
	confinement string // of the host, where it stands in

	diskError atomic.Pointer[string] // what the host said when it failed a disk
	ending    atomic.Bool            // the end was asked for
	noted     chan struct{}          // closed when the supervisor has noted the end
	once      sync.Once
	spool     sync.Mutex // held by the import that uses it
}

// dying tells whether the guest has just ended, or is about to.
func (g *guest) dying() bool {
	select {
	case <-g.wire.Done():
		return true
	default:
	}
	m, ok := g.machine.(vmm.Mortal)
	return ok && m.Dying()
}

// kill ends the guest at once. It is safe to call again, and from several sides.
func (g *guest) kill() {
	g.once.Do(func() {
		g.ending.Store(true)
		g.machine.Kill()
		g.release()
	})
}

// release lets go of what stood around the machine, once that has ended.
func (g *guest) release() {
	if g.wire != nil {
		g.wire.Close()
	}
	g.pipe.Close()
	if g.network != nil {
		g.network.Close()
	}
	if g.console != nil {
		g.console.Close()
	}
}

// shutdown asks the guest to write everything out and to end; it may be deaf.
func (g *guest) shutdown() {
	g.ending.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	if err := g.client.Call(ctx, link.OpShutdown, link.Empty{}, nil); err != nil {
		return
	}
	select {
	case <-g.machine.Done():
	case <-ctx.Done():
	}
}

func (g *guest) sync() error {
	ctx, cancel := context.WithTimeout(context.Background(), syncLimit)
	defer cancel()
	err := g.client.Call(ctx, link.OpSync, link.Empty{}, nil)
	if errors.Is(err, context.DeadlineExceeded) {
		return &link.Error{Code: link.CodeGuestLost, Message: "the guest did not write its disk in time"}
	}
	return err
}

// epitaph says in one sentence why the guest is no more. It waits a moment for the machine to have ended, since
// the link is often the first to know.
func (g *guest) epitaph() string {
	select {
	case <-g.machine.Done():
	case <-time.After(time.Second):
		return "the guest no longer answers"
	}
	if g.console != nil {
		if last := g.console.panicLine(); last != "" {
			return "the guest's kernel gave up: " + last
		}
	}
	if d := g.diskError.Load(); d != nil {
		return "the host failed the guest's disk (is the host's disk full?): " + *d
	}
	if err := g.machine.Err(); err != nil {
		return "the guest's virtual machine ended: " + err.Error()
	}
	return "the guest ended by itself"
}

// started gives the guest, started first where there is none.
func (s *supervisor) started(ctx context.Context) (*guest, error) {
	s.boot.Lock()
	defer s.boot.Unlock()
	if g := s.running(); g != nil {
		return g, nil
	}
	vm := s.snapshot()
	if vm.ID == "" {
		return nil, &link.Error{Code: link.CodeState, Message: "the VM does not exist yet"}
	}
	g, err := s.launch(ctx, vm)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fail(err.Error())
		return nil, errors.Join(err, s.save())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		g.kill()
		return nil, &link.Error{Code: link.CodeState, Message: "the VM is being deleted"}
	}
	s.guest = g
	s.vm.State, s.vm.ExecutionMode, s.vm.Accelerator = record.StateStarted, g.mode, g.accelerator
	s.vm.Warm, s.vm.Confinement = g.warm, g.confinement
	go s.watch(g)
	return g, s.save()
}

// launch starts a guest by whatever way is open.
func (s *supervisor) launch(ctx context.Context, vm record.VM) (*guest, error) {
	g, err := s.launchVM(ctx, vm)
	if err == nil {
		return g, nil
	}
	if !vm.AllowHostCompat || ctx.Err() != nil {
		return nil, unavailable(err)
	}
	s.log.Warn("no guest can be had, the host stands in", "error", err)
	return s.launchHost(ctx, vm)
}

// unavailable words the failure to start a guest.
func unavailable(err error) error {
	var far *link.Error
	if errors.As(err, &far) {
		return err
	}
	out := &link.Error{Code: link.CodeUnavailable, Message: err.Error()}
	var hinter vmm.Hinter
	if errors.As(err, &hinter) {
		out.Hint = hinter.Hint()
	}
	return out
}

// mute ends a machine whose guest can never be spoken to again. Most often the machine has ended already and only
// its last words are waited for.
func (g *guest) mute() {
	<-g.wire.Done()
	select {
	case <-g.machine.Done():
	case <-time.After(shutdownLimit):
		g.machine.Kill()
	}
}

// watch notes what happens to a guest until it has ended.
func (s *supervisor) watch(g *guest) {
	go g.mute()
	if w, ok := g.machine.(vmm.Watcher); ok {
		for e := range w.Events() {
			if e.Kind == vmm.DiskError {
				g.diskError.CompareAndSwap(nil, &e.Detail)
			}
			s.log.Info("event", "kind", e.Kind, "detail", e.Detail)
		}
	}
	<-g.machine.Done()
	asked := g.ending.Load()
	epitaph := g.epitaph()
	g.kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guest == g {
		s.guest = nil
		s.vm.State = record.StateStopped
		if !asked {
			s.fail(epitaph)
		}
		if err := s.save(); err != nil {
			s.log.Error("cannot write the record", "error", err)
		}
	}
	close(g.noted)
}

// guarded talks to a guest that may die, or say nothing until the context ends.
func (g *guest) guarded(ctx context.Context, talk func(context.Context) error) error {
	stop := context.AfterFunc(ctx, func() { g.pipe.Close() })
	defer stop()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-g.machine.Done():
			g.pipe.Close()
		case <-over:
		}
	}()
	return talk(ctx)
}

// become makes a freshly started guest a machine of its own, and sets it up.
func (g *guest) become(ctx context.Context, as link.Identify, with link.SetUp) error {
	as.ClockNS = time.Now().UnixNano()
	if err := g.client.Call(ctx, link.OpIdentify, as, nil); err != nil {
		return g.failed("the guest could not be made a machine of its own", err)
	}
	if err := g.client.Call(ctx, link.OpSetUp, with, nil); err != nil {
		return g.failed("the guest could not be set up", err)
	}
	return nil
}

// greet waits until the agent answers.
func (g *guest) greet(ctx context.Context) error {
	conn, err := wire.Dial(g.pipe, wire.Options{})
	if err != nil {
		return g.failed("the guest did not start", err)
	}
	g.wire, g.client = conn, link.NewGuestClient(conn)
	var hello link.Hello
	if err := g.client.Call(ctx, link.OpHello, link.Empty{}, &hello); err != nil {
		return g.failed("the guest's agent did not answer", err)
	}
	if hello.Version != link.Version {
		return fmt.Errorf("the guest's agent speaks version %d of the protocol, not %d", hello.Version, link.Version)
	}
	return nil
}

// failed prefers what is known of the machine's end to the broken link that followed from it.
func (g *guest) failed(what string, err error) error {
	var far *link.Error
	if errors.As(err, &far) && far.Code != link.CodeGuestLost {
		return fmt.Errorf("%s: %w", what, err)
	}
	select {
	case <-g.machine.Done():
		return fmt.Errorf("%s: %s", what, g.epitaph())
	case <-time.After(100 * time.Millisecond):
	}
	if g.console != nil && g.console.panicLine() != "" {
		return fmt.Errorf("%s: %s", what, g.console.panicLine())
	}
	return fmt.Errorf("%s in time: %w", what, err)
}
