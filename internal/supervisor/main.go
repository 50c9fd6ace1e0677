// Package supervisor is the process that owns one guest: what it is asked, its states, its TTL, its history
// and those who follow it. It is pyro re-executed with a hidden subcommand, in a session of its own.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/guest"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// Command is the hidden subcommand that [Main] serves: pyro Command DIR, with the directory's lock as file
// descriptor LockFD and a connected socket to its creator as ConnFD.
const (
	Command = "supervise"
	LockFD  = 3
	ConnFD  = 4
)

// Why a supervisor ends.
var (
	errDeleted     = errors.New("the VM was deleted")
	errExpired     = errors.New("the VM was idle for its time to live")
	errCreatorGone = errors.New("the VM's client went away")
	errPaused      = errors.New("the task was paused")
	errTerminated  = errors.New("the supervisor was terminated")
)

// drainLimit bounds how long connections may take to notice that the VM has ended.
const drainLimit = 300 * time.Millisecond

// settleLimit bounds how long background commands may take to write down that their guest has ended.
const settleLimit = 2 * time.Second

// restAfter is how long after its last client a supervisor gives back the memory that it does not use: 4 MB
// of what Go's collector would leave for later, and most VMs idle for most of their lives.
const restAfter = time.Second

type supervisor struct {
	root   record.Root
	id     string
	dir    string
	log    *slog.Logger
	end    context.CancelCauseFunc
	owned  chan struct{} // closed when the VM is created or taken over: before that nobody else is served
	guests Guests

	boot sync.Mutex // one start or stop of the guest at a time

	mu       sync.Mutex // guards what follows, and the record on disk
	vm       record.VM
	running  *running
	runs     map[*run]struct{} // the commands that run
	stopping bool              // the guest is asked to end
	pausing  bool              // the guest ends because it is paused
	sequence int
	busy     int // things under way that keep the VM from expiring
	removed  bool
	orphaned bool // its supervisor died, and it is not taken over yet: it may not be removed unasked

	audience audience
	jobs     jobs
	forwards forwards
	expiry   *time.Timer
	rest     *time.Timer
	conns    sync.WaitGroup
}

// Guests is where a supervisor has its guest from. [guest.Launcher] is the real one.
type Guests interface {
	// Start starts the guest. Its error is a *[link.Error].
	Start(ctx context.Context, spec guest.Spec) (*guest.Guest, error)
	// Warm makes a template of the guest's shape, in the background if nobody waits for it.
	Warm(ctx context.Context, spec guest.Spec, background bool) (link.Warmed, error)
}

// Main is the supervisor process, whose guests run in the VMMs of drivers. It returns its exit status.
func Main(args []string, drivers guest.Drivers) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "pyro: the supervisor is started by pyro itself")
		return 2
	}
	unix.CloseOnExec(LockFD)
	unix.CloseOnExec(ConnFD)
	if err := confine.CloseInherited(ConnFD + 1); err != nil { // What the caller has open is not for a VM.
		fmt.Fprintln(os.Stderr, "pyro:", err)
		return 1
	}
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	dir := args[0]
	log := logger()
	if err := supervise(dir, log, guest.Launcher{Drivers: drivers, Log: log}); err != nil {
		log.Error("the supervisor failed", "error", err)
		return 1
	}
	return 0
}

// logger logs into the VM's directory. The level is the caller's only if that is to debug.
func logger() *slog.Logger {
	var wanted slog.Level
	if wanted.UnmarshalText([]byte(os.Getenv("PYRO_LOG"))) != nil || wanted > slog.LevelInfo {
		wanted = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: wanted}))
}

func supervise(dir string, log *slog.Logger, guests Guests) error {
	creator := os.NewFile(ConnFD, "creator")
	conn, err := net.FileConn(creator)
	creator.Close()
	if err != nil {
		return fmt.Errorf("cannot use the creator's socket: %w", err)
	}
	ctx, end := context.WithCancelCause(context.Background())
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, unix.SIGTERM)
	return own(ctx, end, conn, dir, log, guests, terminated)
}

// own owns a VM until ctx ends, which end gives a reason for, or a signal comes. conn leads to the VM's
// creator.
func own(
	ctx context.Context, end context.CancelCauseFunc, conn net.Conn, dir string, log *slog.Logger,
	guests Guests, terminated <-chan os.Signal,
) error {
	s := &supervisor{
		root:   record.NewRoot(filepath.Dir(filepath.Dir(dir))),
		id:     filepath.Base(dir),
		dir:    dir,
		log:    log,
		end:    end,
		owned:  make(chan struct{}),
		guests: guests,
	}
	if _, err := os.Lstat(filepath.Join(dir, record.VMFile)); !errors.Is(err, os.ErrNotExist) {
		s.orphaned = true
	}
	s.expiry = time.AfterFunc(time.Hour, s.checkExpiry)
	defer s.expiry.Stop()
	s.rest = time.AfterFunc(time.Hour, debug.FreeOSMemory)
	defer s.rest.Stop()
	if err := os.Remove(filepath.Join(dir, record.SocketFile)); err != nil &&
		!errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := link.ListenDir(dir, record.SocketFile)
	if err != nil {
		return err
	}
	s.serve(ctx, conn, true)
	go s.accept(ctx, listener)
	go s.heed(ctx, terminated)

	<-ctx.Done()
	listener.Close()
	cause := context.Cause(ctx)
	log.Info("ending", "why", cause)
	s.mu.Lock()
	orphaned := s.orphaned
	nobodys := s.vm.Kind == record.KindPool || s.vm.Kind == record.KindRun
	s.mu.Unlock()
	keep := (errors.Is(cause, errTerminated) || errors.Is(cause, errPaused) || orphaned) && !nobodys
	s.finish(!keep, errors.Is(cause, errExpired))
	s.drain()
	return nil
}

// accept serves everybody who comes to the VM's socket and is its owner. Who comes before there is a VM
// waits: its creator may yet go away, and this supervisor with it.
func (s *supervisor) accept(ctx context.Context, listener *net.UnixListener) {
	select {
	case <-s.owned:
	case <-ctx.Done():
		return
	}
	for {
		conn, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("cannot accept a connection", "error", err)
			continue
		}
		peer, err := link.Peer(conn)
		if err != nil || peer.Uid != uint32(os.Geteuid()) && peer.Uid != 0 {
			s.log.Warn("a stranger was sent away", "error", err)
			conn.Close()
			continue
		}
		s.serve(ctx, conn, false)
	}
}

// session is one client's connection.
type session struct {
	bound atomic.Bool // the VM ends with it

	mu   sync.Mutex
	ends []func() error // what is to be undone when it ends
}

// atEnd has something done when the connection has ended.
func (c *session) atEnd(do func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends = append(c.ends, do)
}

// ended does what was left for the end.
func (c *session) ended() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, do := range c.ends {
		err = errors.Join(err, do())
	}
	c.ends = nil
	return err
}

func (s *supervisor) serve(ctx context.Context, conn net.Conn, bound bool) {
	c := &session{}
	c.bound.Store(bound)
	s.conns.Go(func() {
		defer conn.Close()
		defer s.rest.Reset(restAfter)
		// A client that connects and says nothing holds nothing up but itself, and not for ever.
		hello := time.AfterFunc(10*time.Second, func() { conn.Close() })
		w, err := wire.Serve(conn, wire.Options{})
		hello.Stop()
		if err == nil {
			stop := context.AfterFunc(ctx, func() { time.AfterFunc(drainLimit, func() { w.Close() }) })
			err = link.Serve(ctx, w, func(ctx context.Context, req link.Request, stream *wire.Stream) (any,
				error) {
				return s.handle(ctx, req, stream, c)
			})
			stop()
		}
		if err != nil {
			s.log.Debug("a connection ended", "error", err)
		}
		if err := c.ended(); err != nil {
			s.log.Warn("what a connection had made cannot be removed", "error", err)
		}
		if c.bound.Load() {
			s.end(errCreatorGone)
		}
	})
}

// drain waits until replies have gone out.
func (s *supervisor) drain() {
	done := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * drainLimit):
	}
}

// finish ends the guest and, if remove is set, all that is left of the VM, of which a note stays if it has
// expired. It is safe to call again.
func (s *supervisor) finish(remove, expired bool) error {
	s.boot.Lock()
	defer s.boot.Unlock()
	took := phase.Start(s.log)
	s.mu.Lock()
	g := s.running
	s.mu.Unlock()
	if g != nil {
		defer func() { took.Done("guest ended") }()
		s.setStopping(true)
		if !remove {
			g.Shutdown()
		}
		g.Kill()
		s.settleJobs(settleLimit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
	if s.removed {
		return nil
	}
	if !remove {
		if s.vm.State != record.StatePaused {
			s.vm.State = record.StateStopped
		}
		return s.save()
	}
	if err := s.remove(expired); err != nil {
		return fmt.Errorf("cannot remove %q: %w", s.dir, err)
	}
	s.removed = true
	return nil
}

// save writes the record, if there is one yet. The caller holds mu.
func (s *supervisor) save() error {
	if s.removed || s.vm.ID == "" {
		return nil
	}
	return record.Save(s.dir, s.vm, s.vm.Kind == record.KindTask)
}
