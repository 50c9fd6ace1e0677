package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// maxTail bounds what is kept of QEMU's standard error.
const maxTail = 8 << 10

// process is a running QEMU. It is killed by the kernel when this process ends, however that is.
type process struct {
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed when it has been reaped

	handle      int // a pidfd; -1 if the kernel has none
	confinement confine.Report
	err         error // of Wait; read after done
}

// noHugePages keeps this process, and a QEMU that it starts, to ordinary pages. An emulator touches memory
// here and there, and each piece of 2 MiB that the host has to clear for it is longer than what the
// translation of addresses gains: a cold start is 7 % shorter without. A kernel that does not know the call
// has no huge pages either.
func noHugePages() { _ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) }

// start starts a process with nothing of our environment.
func start(cmd *exec.Cmd, console, log *os.File) (*process, error) {
	p := &process{tail: &tail{}, done: make(chan struct{}), handle: -1}
	if log != nil {
		fd, err := unix.FcntlInt(log.Fd(), unix.F_DUPFD_CLOEXEC, 0) // the caller may close its own
		if err != nil {
			return nil, err
		}
		p.tail.log = os.NewFile(uintptr(fd), log.Name())
	}
	p.cmd = cmd
	p.cmd.Env = []string{}
	p.cmd.Dir = "/"
	p.cmd.Stderr = p.tail
	if console != nil {
		p.cmd.Stdout = console
	}
	// Somebody may hold QEMU's standard error open: then Wait gives up on it.
	p.cmd.WaitDelay = time.Second
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run starts and reaps the child on one thread: the kernel sends the signal when the thread ends that
// started the child, and the Go runtime ends threads as it likes unless they are locked.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore, err := vmm.Deafen()
	if err == nil {
		err = p.cmd.Start()
		restore()
	}
	if err == nil {
		p.handle, _ = unix.PidfdOpen(p.cmd.Process.Pid, 0)
	}
	started <- err
	if err == nil {
		p.awaitEnd()
		p.err = p.cmd.Wait()
		close(p.done)
	}
	if p.tail.log != nil {
		p.tail.log.Close()
	}
}

// awaitEnd waits for the end of the child, if the kernel knows how, without a call that would be told of all
// else that happens to it: of a child that is traced a wait gets what is for the tracer.
func (p *process) awaitEnd() {
	if p.handle < 0 {
		return
	}
	defer unix.Close(p.handle)
	for {
		ready := []unix.PollFd{{Fd: int32(p.handle), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// kill ends the process and waits until it is reaped.
func (p *process) kill() {
	p.cmd.Process.Kill() // fails only if it has ended
	<-p.done
}

// dying tells whether the process was sent the signal that nothing survives. It stays pending for the process
// as a whole (ShdPnd in proc(5)'s /proc/PID/status) for as long as there is one.
func (p *process) dying() bool {
	const killed = 1 << (unix.SIGKILL - 1)
	select {
	case <-p.done:
		return true // and the number may be another's
	default:
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) // It was reaped meanwhile.
	}
	_, rest, _ := bytes.Cut(status, []byte("\nShdPnd:\t"))
	pending, _, _ := bytes.Cut(rest, []byte("\n"))
	signals, err := strconv.ParseUint(string(pending), 16, 64)
	return err == nil && signals&killed != 0
}

// failure says how a process that nobody has killed went wrong, and is nil after a clean exit.
func (p *process) failure() error {
	var exit *exec.ExitError
	last := p.tail.lastLine()
	switch {
	case p.err == nil || errors.Is(p.err, exec.ErrWaitDelay):
		return nil
	case !errors.As(p.err, &exit):
		return fmt.Errorf("qemu ended: %w", p.err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		if status.Signal() == syscall.SIGKILL {
			return fmt.Errorf("qemu was %w, perhaps by the host for want of memory", vmm.ErrKilledOutside)
		}
		return fmt.Errorf("qemu ended by signal %d (%s)%s", int(status.Signal()), status.Signal(),
			after(last))
	}
	return classify(fmt.Sprintf("qemu ended with exit status %d", exit.ExitCode()), p.tail.String(), last)
}

// after makes a line the end of a sentence.
func after(line string) string {
	if line == "" {
		return ""
	}
	return ": " + sentence(line)
}

// sentence puts a message of another program into the form of pyro's own.
func sentence(s string) string {
	s = strings.TrimRight(strings.TrimSpace(s), ".")
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'a' && s[1] <= 'z' {
		s = string(s[0]+'a'-'A') + s[1:]
	}
	return s
}

// tail is a writer that keeps the last of what is written to it, and passes it all to a log.
type tail struct {
	log  *os.File // nil is no log
	mu   sync.Mutex
	kept []byte
}

// Write keeps the last maxTail bytes. It never fails: QEMU must not hang on a log that is full.
func (t *tail) Write(b []byte) (int, error) {
	if t.log != nil {
		t.log.Write(b)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b[max(0, len(b)-maxTail):]...)
	if over := len(t.kept) - maxTail; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

// String is all that is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// lastLine is the last line that says something, printable and without the program's name.
func (t *tail) lastLine() string {
	lines := bytes.Split(bytes.TrimSpace([]byte(t.String())), []byte("\n"))
	line := strings.ToValidUTF8(string(lines[len(lines)-1]), "?")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, line)
	if name, rest, found := strings.Cut(line, ": "); found && strings.HasPrefix(name, "qemu-system") {
		line = rest
	}
	return line[:min(len(line), 300)]
}
