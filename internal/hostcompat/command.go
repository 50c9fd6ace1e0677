package hostcompat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/socketpair"
)

// endWithin bounds how long the ending of a tree of processes may take. A contract stands behind it: half a
// second.
const endWithin = 350 * time.Millisecond

// keepers starts keepers and owns them: whatever is a child of this process and not one of them is a stray.
type keepers struct {
	mu    sync.Mutex
	alive map[int]bool
}

// command is one command under its keeper.
type command struct {
	pid     int // the keeper's
	events  *json.Decoder
	control *os.File
	gone    chan struct{} // closed when the keeper has ended
}

// start runs the order on the given files, which stay the caller's. The keeper has confined itself when it
// returns.
func (k *keepers) start(o order, stdin, stdout, stderr *os.File) (*command, kept, error) {
	control, child, err := socketpair.Files("control", unix.SOCK_STREAM)
	if err != nil {
		return nil, kept{}, err
	}
	defer child.Close()
	c := &command{control: control, gone: make(chan struct{})}
	c.events = json.NewDecoder(c.control)
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{"pyro", Subcommand, modeKeep},
		Env:         []string{},
		Dir:         "/",
		Stdin:       stdin,
		Stdout:      stdout,
		Stderr:      stderr,
		ExtraFiles:  []*os.File{child},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM},
	}
	if err := k.spawn(cmd, c); err != nil {
		return nil, kept{}, errors.Join(fmt.Errorf("cannot start a process for the command: %w", err),
			c.control.Close())
	}
	var first event
	if err := errors.Join(json.NewEncoder(c.control).Encode(o), c.events.Decode(&first)); err != nil ||
		first.Kept == nil {
		k.end(c)
		_ = c.control.Close()
		return nil, kept{}, fmt.Errorf("cannot confine a process for the command: %w",
			errors.Join(err, errKeeper))
	}
	return c, *first.Kept, nil
}

var errKeeper = errors.New("its keeper did not answer")

// spawn starts a keeper from a thread that lives as long as the keeper does, for the kernel takes the end of
// the thread for the end of the parent.
func (k *keepers) spawn(cmd *exec.Cmd, c *command) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		k.mu.Lock()
		err := cmd.Start()
		if err == nil {
			c.pid = cmd.Process.Pid
			k.alive[c.pid] = true
		}
		k.mu.Unlock()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait()
		k.mu.Lock()
		delete(k.alive, c.pid)
		k.strays()
		k.mu.Unlock()
		close(c.gone)
	}()
	return <-started
}

// strays ends what has lost its keeper, because a command killed it. The caller holds the lock.
func (k *keepers) strays() {
	for deadline := time.Now().Add(2 * endWithin); time.Now().Before(deadline); {
		found := process.Children(os.Getpid())
		found = slices.DeleteFunc(found, func(pid int) bool { return k.alive[pid] })
		if len(found) == 0 {
			return
		}
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// signal has the keeper send a signal to a process group: 0 is the command's own.
func (c *command) signal(group int, s syscall.Signal) error {
	if err := json.NewEncoder(c.control).Encode(sending{group, s}); err != nil {
		return os.ErrProcessDone
	}
	return nil
}

// end is how a command ended.
type end struct {
	code    int
	line    string // for its stderr, if it could not be run
	failure string // of pyro, not of the command
}

// wait returns when the command has ended. What it left running goes on.
func (c *command) wait() end {
	defer c.control.Close()
	for {
		var e event
		if err := c.events.Decode(&e); err != nil {
			<-c.gone // It was killed, and all that it kept with it.
			return end{code: 128 + int(syscall.SIGKILL)}
		}
		switch {
		case e.Exited != nil:
			return end{code: process.ExitCode(*e.Exited)}
		case e.Failed != "":
			return end{failure: e.Failed}
		case e.Refused != "":
			return end{code: e.Code, line: e.Refused}
		}
	}
}

// end kills all that the command started. What forks too fast for that is ended at one stroke: by the kernel
// together with all other commands if this process is pid 1, else by the keeper as well as it can.
func (k *keepers) end(c *command) {
	if !process.EndTree(c.pid, endWithin) {
		if os.Getpid() == 1 {
			_ = syscall.Kill(-1, syscall.SIGKILL)
		} else if syscall.Kill(c.pid, syscall.SIGTERM) == nil {
			select {
			case <-c.gone:
			case <-time.After(2 * endWithin):
			}
		}
	}
	_ = syscall.Kill(c.pid, syscall.SIGKILL)
	<-c.gone
}
