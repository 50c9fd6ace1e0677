package pyro

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// How a supervisor is started. They are the supervisor's own words; this package must not carry it.
const (
	superviseCommand = "supervise"
	startLimit       = 20 * time.Second
)

// session is a conversation with one VM's supervisor.
type session struct {
	id     string
	client *link.Client
	wire   *wire.Conn
	conn   net.Conn
}

func (s *session) Close() {
	s.wire.Close()
	s.conn.Close()
}

// root holds the VMs.
func (p *Pyro) root() record.Root { return record.NewRoot(p.options.StateDir) }

// command finds the pyro executable.
func (p *Pyro) command() (string, error) {
	if p.options.Command != "" {
		return p.options.Command, nil
	}
	if self, err := os.Executable(); err == nil && filepath.Base(strings.TrimSuffix(self, " (deleted)")) == "pyro" {
		// The link in /proc outlives a pyro that is replaced while this one runs.
		return "/proc/self/exe", nil
	}
	path, err := exec.LookPath("pyro")
	if err != nil {
		return "", &Error{Kind: ErrGuestUnavailable, Message: "cannot find the pyro executable that supervises VMs",
			Hint: "put pyro on PATH, or name it with WithCommand", cause: err}
	}
	return path, nil
}

// spawn starts the supervisor of a VM whose lock we hold, and hands the lock over. The supervisor is bound to the
// session until its VM is complete.
func (p *Pyro) spawn(id string, lock *os.File) (*session, error) {
	defer lock.Close()
	command, err := p.command()
	if err != nil {
		return nil, err
	}
	dir := p.root().Path(id)
	log, err := os.OpenFile(filepath.Join(dir, record.LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "supervisor"), os.NewFile(uintptr(fds[1]), "supervisor")
	defer ours.Close()
	defer theirs.Close()
	cmd := exec.Command(command, superviseCommand, dir)
	cmd.Args[0] = "pyro"
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = "/", log, []*os.File{lock, theirs}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, &Error{Kind: ErrGuestUnavailable, Message: fmt.Sprintf("cannot start the supervisor %q: %v", command, err),
			Hint: "name the pyro executable with WithCommand", cause: err}
	}
	go cmd.Wait()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	theirs.Close()
	return newSession(id, conn)
}

func newSession(id string, conn net.Conn) (*session, error) {
	late := time.AfterFunc(startLimit, func() { conn.Close() })
	defer late.Stop()
	w, err := wire.Dial(conn, wire.Options{})
	if err != nil {
		conn.Close()
		err = fmt.Errorf("the supervisor of %q does not answer: %w", id, err)
		return nil, &Error{Kind: ErrGuestLost, Message: err.Error(), cause: err}
	}
	return &session{id: id, client: link.NewClient(w), wire: w, conn: conn}, nil
}

// errDead says that nobody supervises a VM.
var errDead = errors.New("no supervisor")

// connect reaches a VM's supervisor, or gives errDead or ErrNotFound.
func (p *Pyro) connect(ctx context.Context, id string) (*session, error) {
	root := p.root()
	deadline := time.Now().Add(startLimit)
	for {
		if !root.Exists(id) {
			return nil, notFound(id)
		}
		conn, _, err := link.DialDir(root.Path(id), record.SocketFile)
		if err != nil {
			err = fmt.Errorf("the supervisor of %q does not answer: %w", id, err)
		} else {
			var s *session
			if s, err = newSession(id, conn); err == nil {
				return s, nil
			}
		}
		if root.Gone(id) {
			return nil, errDead
		}
		// Alive and not listening yet, or no longer: it is being started, or ends.
		if time.Now().After(deadline) {
			return nil, &Error{Kind: ErrGuestLost, Message: err.Error(), cause: err}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func notFound(id string) error {
	return &Error{Kind: ErrNotFound, Message: fmt.Sprintf("there is no VM or task %q", id), Hint: "pyro task list shows those there are"}
}

// destroy ends a VM and removes all of it, whatever state it is in: by its supervisor where that still answers,
// else without it.
func (p *Pyro) destroy(ctx context.Context, id string) error {
	root := p.root()
	if !root.Exists(id) {
		return notFound(id)
	}
	polite, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if p.askToEnd(polite, id) == nil && (root.WaitGone(id, time.Second) || !root.Exists(id)) {
		return nil
	}
	for range 50 {
		lock, err := record.TryLock(root.Path(id))
		if err == nil {
			err = root.Remove(id)
			lock.Close()
			return err
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, record.ErrLocked) {
			return err
		}
		if err := killHolders(filepath.Join(root.Path(id), record.LockFile)); err != nil {
			return err
		}
		root.WaitGone(id, 100*time.Millisecond)
	}
	return fmt.Errorf("cannot delete %q: its supervisor cannot be ended", id)
}

func (p *Pyro) askToEnd(ctx context.Context, id string) error {
	done := make(chan error, 1)
	go func() {
		s, err := p.connect(ctx, id)
		if err != nil {
			done <- err
			return
		}
		defer s.Close()
		done <- s.client.Call(ctx, link.OpDelete, link.Empty{}, nil)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killHolders ends the processes of this user that hold a lock, this one excepted: the supervisor of a VM is found by
// the lock that it holds, never by a number that it once wrote down. Those who only ask whether it is held have the
// file open too, and are left alone.
func killHolders(path string) error {
	lock, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, proc := range procs {
		var pid int
		if n, _ := fmt.Sscanf(proc.Name(), "%d", &pid); n != 1 || pid == os.Getpid() {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if holds(pid, lock) {
			err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot end process %d, which holds %q: %w", pid, path, err)
		}
	}
	return nil
}

// holds tells whether a process has a file open by which it is locked against all others. The file is compared by what
// it is, for its path may lead over a link.
func holds(pid int, lock os.FileInfo) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		return false
	}
	for _, fd := range fds {
		target, err := os.Readlink(proc + "fd/" + fd.Name())
		if err != nil || filepath.Base(target) != record.LockFile {
			continue
		}
		info, err := os.Stat(proc + "fd/" + fd.Name())
		if err != nil || !os.SameFile(info, lock) {
			continue
		}
		locks, err := os.ReadFile(proc + "fdinfo/" + fd.Name())
		if err == nil && strings.Contains(string(locks), " WRITE ") {
			return true
		}
	}
	return false
}
