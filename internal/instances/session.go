package instances

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/socketpair"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

const (
	// superviseCommand is the supervisor's hidden subcommand; this package must not carry the supervisor.
	superviseCommand = "supervise"
	// startLimit bounds how long a new supervisor may take to answer.
	startLimit = 20 * time.Second
)

// Session is a conversation with one VM's supervisor.
type Session struct {
	ID     string
	Client *link.Client
	wire   *wire.Conn
	conn   net.Conn
	relay  *relay // nil unless what the supervisor logs is passed on
}

// Close ends the conversation, and with it a VM that is bound to it.
func (s *Session) Close() {
	s.wire.Close()
	s.conn.Close()
	s.relay.close()
}

// Done is closed when the supervisor speaks no more.
func (s *Session) Done() <-chan struct{} { return s.wire.Done() }

// ErrUnsupervised says that a VM is there and has no supervisor.
var ErrUnsupervised = errors.New("no supervisor")

// Connect reaches a VM's supervisor, or gives [ErrUnsupervised].
func (i *Instances) Connect(ctx context.Context, id string) (*Session, error) {
	deadline := time.Now().Add(startLimit)
	for {
		if !i.root.Exists(id) {
			return nil, i.notFound(id)
		}
		conn, _, err := link.DialDir(i.Dir(id), record.SocketFile)
		if err != nil {
			err = silent(id, err)
		} else {
			var s *Session
			if s, err = newSession(id, conn, i.relay(id)); err == nil {
				return s, nil
			}
		}
		if !i.Alive(id) {
			return nil, ErrUnsupervised
		}
		// Alive and not listening yet, or no longer: it is being started, or ends.
		if time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Reach reaches a VM's supervisor, and starts another one if it is gone.
func (i *Instances) Reach(ctx context.Context, id string) (*Session, error) {
	for range 10 {
		s, err := i.Connect(ctx, id)
		if !errors.Is(err, ErrUnsupervised) {
			return s, err
		}
		var lock *os.File
		err = i.queue(ctx, Wait{For: i.options.Wait}, true, func() (err error) {
			lock, err = i.root.Revive(id, i.options.MaxActive, i.counts)
			return err
		})
		if errors.Is(err, record.ErrLocked) {
			continue // Somebody else was quicker.
		}
		if err != nil {
			return nil, err
		}
		s, err = i.spawn(id, lock)
		if err != nil {
			return nil, err
		}
		if err := s.Client.Call(ctx, link.OpResume, link.Empty{}, nil); err != nil {
			s.Close()
			return nil, about(fmt.Sprintf("cannot take over %q", id), err)
		}
		return s, nil
	}
	return nil, &link.Error{
		Code:    link.CodeGuestLost,
		Message: fmt.Sprintf("the supervisor of %q ends as often as it is started", id),
	}
}

// command finds the pyro executable.
func (i *Instances) command() (string, error) {
	if i.options.Command != "" {
		return i.options.Command, nil
	}
	if self, err := os.Executable(); err == nil &&
		filepath.Base(strings.TrimSuffix(self, " (deleted)")) == "pyro" {
		// The link in /proc outlives a pyro that is replaced while this one runs.
		return "/proc/self/exe", nil
	}
	path, err := exec.LookPath("pyro")
	if err != nil {
		return "", &link.Error{
			Code:    link.CodeUnavailable,
			Cause:   CauseNoProgram,
			Message: "cannot find the pyro executable that supervises VMs",
		}
	}
	return path, nil
}

// spawn starts the supervisor of a VM whose lock we hold, and hands the lock over. The supervisor is bound to
// the session until its VM is complete.
func (i *Instances) spawn(id string, lock *os.File) (*Session, error) {
	defer lock.Close()
	command, err := i.command()
	if err != nil {
		return nil, err
	}
	dir := i.Dir(id)
	log, err := os.OpenFile(filepath.Join(dir, record.LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	took := phase.Start(i.options.Log)
	parent, child, err := socketpair.Files("supervisor", unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	defer child.Close()
	cmd := exec.Command(command, superviseCommand, dir)
	cmd.Args[0] = "pyro"
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = "/", log, []*os.File{lock, child}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if i.options.Log.Enabled(context.Background(), slog.LevelDebug) {
		cmd.Env = append(os.Environ(), levelVariable+"=debug")
	}
	passed := i.relay(id)
	if err := cmd.Start(); err != nil {
		passed.close()
		return nil, &link.Error{
			Code:    link.CodeUnavailable,
			Cause:   CauseNoProgram,
			Message: fmt.Sprintf("cannot start the supervisor %q: %v", command, err),
		}
	}
	go cmd.Wait()
	conn, err := net.FileConn(parent)
	if err != nil {
		passed.close()
		return nil, err
	}
	child.Close()
	s, err := newSession(id, conn, passed)
	took.Done("supervisor spawned", "vm", id)
	return s, err
}

// newSession greets a supervisor. The relay is the session's, also if that fails.
func newSession(id string, conn net.Conn, passed *relay) (*Session, error) {
	late := time.AfterFunc(startLimit, func() { conn.Close() })
	defer late.Stop()
	w, err := wire.Dial(conn, wire.Options{})
	if err != nil {
		conn.Close()
		passed.close()
		return nil, silent(id, err)
	}
	return &Session{
		ID:     id,
		Client: link.NewClient(w),
		wire:   w,
		conn:   conn,
		relay:  passed,
	}, nil
}

// silent says that a supervisor does not answer.
func silent(id string, err error) error {
	return &link.Error{
		Code:    link.CodeGuestLost,
		Cause:   CauseSupervisor,
		Message: fmt.Sprintf("the supervisor of %q does not answer: %v", id, err),
	}
}
