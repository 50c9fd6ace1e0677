// Package guest is one running guest, however it came to be (booted, cloned, or stood in for by the host),
// the link to it, and why it ended.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/network"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// How long a guest may take to end by itself before it is ended, and to write its disk before a command's
// caller is answered.
const (
	shutdownLimit = 3 * time.Second
	syncLimit     = 20 * time.Second
	signLimit     = 15 * time.Second // for a sign of life, on a busy host under emulation
)

// Machine is what a guest runs in: a VMM's process, or the host itself, confined. See [vmm.Machine] for
// what its methods promise.
type Machine interface {
	Done() <-chan struct{}
	Err() error
	Kill() error
}

// Guest is a running guest and all that it needs. Its methods may be called from any goroutine. Kill ends
// it and releases everything.
type Guest struct {
	facts   Facts
	client  *link.Client
	talker  atomic.Pointer[link.Client] // the same for who does not know when there is one
	machine Machine
	wire    *wire.Conn
	pipe    io.ReadWriteCloser // under wire
	console *console
	network *network.Network // nil without one
	mute    io.Closer        // what stands in for a network that says nothing; nil without one

	log       *slog.Logger
	diskError atomic.Pointer[string] // what the host said when it failed a disk
	silent    atomic.Bool            // it gave no sign of life when it was asked for one
	broken    atomic.Pointer[error]  // how the guest broke the protocol, if that is why it was ended
	ending    atomic.Bool            // the end was asked for
	once      sync.Once

	done  chan struct{} // closed when it has ended, cause is known and everything is released
	cause error         // read after done

	booted      link.Boot // how long the boot took in the guest
	id          string
	dir         string // the VM's own
	base        string // path of the memory that it was started from; empty if it was booted
	fingerprint string // of the VMM

	kept    *kept      // nil unless the guest's disk is memory
	scratch string     // path of the disk with the spool; empty is none
	spoolAt int64      // where the spool begins, in bytes
	spool   sync.Mutex // held by the import that uses it
}

func newGuest(facts Facts) *Guest { return &Guest{facts: facts, done: make(chan struct{})} }

// Join makes a guest of a machine that runs already, over the link to its agent: what it is asked first,
// and who it is. The machine and the link are the guest's from then on, also if Join fails.
func (l Launcher) Join(
	ctx context.Context, spec Spec, m Machine, pipe io.ReadWriteCloser, facts Facts,
) (*Guest, error) {
	g := newGuest(facts)
	g.machine, g.pipe, g.log = m, pipe, l.Log
	err := g.guarded(ctx, g.greet)
	if err == nil {
		err = g.become(ctx, spec, phase.Start(l.Log))
	}
	if err != nil {
		g.Kill()
		return nil, err
	}
	go g.tend(l.Log)
	return g, nil
}

// Facts says what the guest has come to be.
func (g *Guest) Facts() Facts { return g.facts }

// Done is closed when the guest has ended and everything around it is released.
func (g *Guest) Done() <-chan struct{} { return g.done }

// Cause is why the guest ended, once Done is closed: nil if it was asked to.
func (g *Guest) Cause() error { return g.cause }

// Dying tells whether the guest has just ended, or is about to.
func (g *Guest) Dying() bool {
	select {
	case <-g.wire.Done():
		return true
	default:
	}
	m, ok := g.machine.(vmm.Mortal)
	return ok && m.Dying()
}

// Kill ends the guest at once. It is safe to call again, and from several sides.
func (g *Guest) Kill() {
	g.ending.Store(true)
	g.end()
}

func (g *Guest) end() {
	g.once.Do(func() {
		g.machine.Kill()
		g.release()
	})
}

// release closes what stands around the machine, which has ended or was never there.
func (g *Guest) release() {
	if g.wire != nil {
		g.wire.Close()
	}
	if g.pipe != nil {
		g.pipe.Close()
	}
	if g.network != nil {
		g.network.Close()
	}
	if g.mute != nil {
		g.mute.Close()
	}
	if g.console != nil {
		g.console.Close()
	}
}

// Shutdown asks the guest to write everything out and to end, and waits for that a little; it may not
// listen. Kill it afterwards.
func (g *Guest) Shutdown() {
	g.ending.Store(true)
	if g.kept != nil {
		g.keep()
	}
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

// keep keeps all of a disk that is memory, that of files which were written by way of a mapping, too. If
// that fails there is what was kept after the last command.
func (g *Guest) keep() {
	if err := g.kept.save(context.Background(), g.client, true); err != nil {
		g.log.Error("cannot keep the guest's disk as it is", "error", err)
	}
}

// ProveAlive asks a guest for a sign of life, and ends one that gives none.
func (g *Guest) ProveAlive() {
	ctx, cancel := context.WithTimeout(context.Background(), signLimit)
	defer cancel()
	err := g.client.Call(ctx, link.OpHello, link.Empty{}, nil)
	if errors.Is(err, context.DeadlineExceeded) && !g.ending.Load() {
		g.silent.Store(true)
		g.machine.Kill()
	}
}

// Sync returns when everything that was written in the guest is on its disk.
func (g *Guest) Sync() error { return g.SyncWithin(context.Background()) }

// SyncWithin is Sync for a caller who waits no longer than ctx lasts.
func (g *Guest) SyncWithin(ctx context.Context) error {
	var err error
	if g.kept != nil {
		err = g.kept.save(ctx, g.client, false)
	} else {
		limited, cancel := context.WithTimeout(ctx, syncLimit)
		defer cancel()
		err = g.client.Call(limited, link.OpSync, link.Empty{}, nil)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &link.Error{
			Code:    link.CodeGuestLost,
			Cause:   link.CauseGuestStuck,
			Message: "the guest did not write its disk in time",
		}
	}
	return g.Lost(err)
}

// Forward passes a request and what follows it on to the guest, as [link.Forward] does.
func (g *Guest) Forward(
	ctx context.Context, req link.Request, from *wire.Stream, tap func(wire.Message),
) (link.Reply, error) {
	return link.Forward(ctx, from, req, g.client, tap)
}

// Commands lists the guest's commands that have an id.
func (g *Guest) Commands(ctx context.Context) ([]link.CommandInfo, error) {
	var list link.CommandList
	err := g.client.Call(ctx, link.OpCommands, link.Empty{}, &list)
	return list.Commands, g.Lost(err)
}

// Attach becomes the caller of a command that lost its own, and returns when it has ended. It gets what the
// guest has kept of the command's output.
func (g *Guest) Attach(ctx context.Context, id string, stdout, stderr io.Writer) (link.ExecResult, error) {
	result, err := g.client.AttachTo(ctx, link.Attach{ID: id}, link.Streams{Stdout: stdout, Stderr: stderr},
		nil)
	return result, g.Lost(err)
}

// AttachTo becomes the caller of a command that lost its own, from the place in its output that is named, and
// returns when it has ended.
func (g *Guest) AttachTo(ctx context.Context, a link.Attach, std link.Streams) (link.ExecResult, error) {
	return g.client.AttachTo(ctx, a, std, nil)
}

// DiskError is what the host said when it failed the guest's disk, empty if it has not.
func (g *Guest) DiskError() string {
	if why := g.diskError.Load(); why != nil {
		return *why
	}
	return ""
}

// Lost words the loss of a guest by what is known of it. Other errors, and nil, it gives back as they are.
func (g *Guest) Lost(err error) error {
	var far *link.Error
	if !errors.As(err, &far) || far.Code != link.CodeGuestLost {
		return err
	}
	return g.causeOfDeath()
}

// causeOfDeath says why the guest is no more. It waits a moment for the machine to have ended, since the
// link is often the first to know.
func (g *Guest) causeOfDeath() *link.Error {
	died := func(cause link.Cause, message string) *link.Error {
		return &link.Error{Code: link.CodeGuestLost, Cause: cause, Message: message}
	}
	select {
	case <-g.machine.Done():
	case <-time.After(time.Second):
		return died(link.CauseGuestStuck, "the guest no longer answers")
	}
	if g.silent.Load() {
		return died(link.CauseGuestStuck, fmt.Sprintf(
			"the guest did not end a command and gave no sign of life within %v, so it was ended", signLimit))
	}
	if line := g.panicLine(); line != "" {
		return died(link.CausePanic, "the guest's kernel gave up: "+line)
	}
	if why := g.DiskError(); why != "" {
		return died(link.CauseHostDisk, HostDisk(why))
	}
	if broken := g.broken.Load(); broken != nil {
		return died(link.CauseProtocol, "the guest broke the rules of its link and was ended: "+
			(*broken).Error())
	}
	err := g.machine.Err()
	switch {
	case err == nil:
		return died(link.CauseGuestEnded, "the guest ended by itself")
	case errors.Is(err, vmm.ErrKilled):
		return died(link.CauseStopped, "the guest was stopped while the command ran")
	case errors.Is(err, vmm.ErrKilledOutside):
		return died(link.CauseKilled, "the guest's virtual machine ended: "+err.Error())
	}
	return died("", "the guest's virtual machine ended: "+err.Error())
}

// HostDisk words the host's failure of a guest's disk, of which it has said why.
func HostDisk(why string) string {
	return "the host failed the guest's disk (is the host's disk full?): " + why
}

func (g *Guest) panicLine() string {
	if g.console == nil {
		return ""
	}
	return g.console.panicLine()
}

// endUnreachable ends a machine whose guest can never be spoken to again. Most often the machine has ended
// already and only the news of it are waited for.
func (g *Guest) endUnreachable() {
	<-g.wire.Done()
	select {
	case <-g.machine.Done():
	case <-time.After(shutdownLimit):
		if err := g.wire.Err(); err != nil {
			g.broken.Store(&err)
		}
		g.machine.Kill()
	}
}

// tend notes what happens to a guest until it has ended.
func (g *Guest) tend(log *slog.Logger) {
	go g.endUnreachable()
	if w, ok := g.machine.(vmm.Watcher); ok {
		for e := range w.Events() {
			if e.Kind == vmm.DiskError {
				g.diskError.CompareAndSwap(nil, &e.Detail)
			}
			log.Info("event", "kind", e.Kind, "detail", e.Detail)
		}
	}
	<-g.machine.Done()
	if !g.ending.Load() {
		g.cause = g.causeOfDeath()
	}
	g.end()
	close(g.done)
}

// guarded talks to a guest that may die, or say nothing until the context ends.
func (g *Guest) guarded(ctx context.Context, talk func(context.Context) error) error {
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

// greet waits until the agent answers.
func (g *Guest) greet(ctx context.Context) error {
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
		return fmt.Errorf("the guest's agent speaks version %d of the protocol, not %d", hello.Version,
			link.Version)
	}
	g.booted = hello.Boot
	g.talker.Store(g.client)
	return nil
}

// failed prefers what is known of the machine's end to the broken link that followed from it.
func (g *Guest) failed(what string, err error) error {
	var far *link.Error
	if errors.As(err, &far) && far.Code != link.CodeGuestLost {
		return fmt.Errorf("%s: %w", what, err)
	}
	select {
	case <-g.machine.Done():
		return fmt.Errorf("%s: %w", what, g.causeOfDeath())
	case <-time.After(100 * time.Millisecond):
	}
	if line := g.panicLine(); line != "" {
		return fmt.Errorf("%s: %s", what, line)
	}
	return fmt.Errorf("%s in time: %w", what, err)
}
