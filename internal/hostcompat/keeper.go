package hostcompat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/process"
)

// order is what a keeper is told to run, as JSON on its file descriptor 3.
type order struct {
	Layers  confine.Namespaces
	Places  places
	Command process.Command

	Terminal bool // its standard input is to be its terminal
}

// sending asks a keeper for a signal.
type sending struct {
	Group  int // 0 is the command's own
	Signal syscall.Signal
}

// kept is what a keeper has confined itself by.
type kept struct {
	Landlock    int    // version, 0 is none
	LandlockErr string // why not, if the kernel has it
	CallsErr    string // why system calls are not filtered, empty if they are
}

// event is what a keeper says, as JSON on its file descriptor 3: first Kept, then that the command was
// Refused, or that something Failed, or, when the command ends, that it Exited. It lives on as long as
// something of the command does.
type event struct {
	Kept    *kept               `json:",omitempty"`
	Refused string              `json:",omitempty"` // the line for the command's stderr
	Code    int                 `json:",omitempty"` // the exit status to Refused
	Failed  string              `json:",omitempty"` // why, if the command is not to blame
	Exited  *syscall.WaitStatus `json:",omitempty"`
}

// keep is the process between the shim and one command. It confines itself, and with it all that the command
// will start, and adopts what the command leaves behind: so whatever comes from a command is found below its
// keeper, in whatever session or process group it has hidden.
func keep() int {
	// Landlock may give each thread a domain of its own. What ends the command must be in the one that starts
	// it.
	runtime.LockOSThread()
	control := os.NewFile(linkFD, "control")
	unix.CloseOnExec(linkFD)
	events := json.NewEncoder(control)
	orders := json.NewDecoder(control)
	var o order
	if err := orders.Decode(&o); err != nil {
		return 1
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals)
	if err := errors.Join(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0),
		unix.Prctl(unix.PR_SET_DUMPABLE, dumpable(o.Layers), 0, 0, 0)); err != nil {
		return 1
	}
	by := restrict(o)
	if err := events.Encode(event{Kept: &by}); err != nil {
		return 1
	}
	pid, err := start(o)
	if err != nil {
		e := event{Failed: fmt.Sprintf("cannot run %q: %v", o.Command.Argv[0], err)}
		if code, line, ok := o.Command.Refused(err); ok {
			e = event{Refused: line, Code: code}
		}
		_ = events.Encode(e)
		return 0
	}
	if err := release(); err != nil {
		return 1
	}
	over := make(chan struct{})
	c := &leader{pid: pid}
	go func() {
		defer close(over)
		c.adopt(events)
	}()
	go c.obey(orders)
	for {
		select {
		case <-over:
			return 0
		case s := <-signals:
			if s == syscall.SIGTERM && !o.Layers.Has(confine.PID) {
				endBelow(by)
				select {
				case <-over:
				case <-time.After(endWithin):
				}
				return 1
			}
		}
	}
}

// leader is the command's first process, which leads its process group.
type leader struct {
	pid  int
	mu   sync.Mutex // held while a child is reaped
	dead bool
}

// adopt waits for all children, those that orphans became included, until there are none, and tells of the
// command's end.
func (l *leader) adopt(events *json.Encoder) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		var status syscall.WaitStatus
		l.mu.Lock()
		ended, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == nil && ended == l.pid {
			l.dead = true
			_ = events.Encode(event{Exited: &status})
		}
		l.mu.Unlock()
	}
}

// obey sends the signals that the shim asks for.
func (l *leader) obey(orders *json.Decoder) {
	for {
		var s sending
		if err := orders.Decode(&s); err != nil {
			return
		}
		l.mu.Lock()
		if s.Group == 0 {
			s.Group = l.pid
		}
		if !l.dead {
			_ = syscall.Kill(-s.Group, s.Signal)
		}
		l.mu.Unlock()
	}
}

// endBelow ends all that the command started, if no pid namespace does that. What forks too fast to be
// found is ended at one stroke if Landlock keeps signals inside, as shows in that the shim cannot be
// reached.
func endBelow(by kept) {
	shim := os.Getppid()
	if process.EndTree(os.Getpid(), endWithin) || by.Landlock < confine.LandlockScopes {
		return
	}
	if shim > 1 && errors.Is(unix.Kill(shim, 0), unix.EPERM) {
		_ = unix.Kill(-1, unix.SIGKILL)
	}
}

func restrict(o order) kept {
	k := kept{Landlock: confine.LandlockVersion()}
	if err := restrictFiles(o.Layers, o.Places); err != nil {
		k.Landlock, k.LandlockErr = 0, err.Error()
	}
	if err := calls(o.Layers).Restrict(); err != nil {
		k.CallsErr = err.Error()
	}
	return k
}

// start runs the command on this process's own standard streams, as leader of a session.
func start(o order) (int, error) {
	c := o.Command
	path, err := c.Find()
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(path, c.Argv, &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   c.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: o.Terminal},
	})
}

// release gives up the command's standard streams, so that they end with the command.
func release() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	return nil
}
