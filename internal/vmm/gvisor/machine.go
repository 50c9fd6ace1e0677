package gvisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"golang.org/x/sys/unix"
)

// machine is one runsc with its children.
type machine struct {
	cmd    *exec.Cmd
	link   *os.File
	dir    string
	log    tail
	done   chan struct{}
	err    error // read after done
	killed atomic.Bool
}

// Start starts runsc.
func (d *Driver) Start(ctx context.Context, spec vmm.Spec) (vmm.Machine, error) {
	m, err := d.start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("cannot start the guest %q: %w", spec.Name, err)
	}
	return m, nil
}

func (d *Driver) start(ctx context.Context, spec vmm.Spec) (*machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	program, err := d.Path()
	if err != nil {
		return nil, err
	}
	if err := usable(spec); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(spec.Dir, "runsc-")
	if err != nil {
		return nil, err
	}
	m := &machine{dir: dir, done: make(chan struct{})}
	if err := bundle(spec).write(dir); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := m.run(program, spec); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return m, nil
}

// run starts the program with the guest's files in its hands.
func (m *machine) run(program string, spec vmm.Spec) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("cannot make a socketpair: %w", err)
	}
	parent, child := os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link")
	defer child.Close()
	args := []string{"--root", filepath.Join(m.dir, "state"), "--rootless", "--ignore-cgroups",
		"--network=none", "--in-sandbox-cgroup=v2", "--allow-suid", "--net-raw",
		"--overlay2=none", "--directfs=false", "run", "--bundle", m.dir,
		"--pass-fd", fmt.Sprintf("3:%d", link.BoxedLink)}
	m.cmd = exec.Command(program)
	m.cmd.ExtraFiles = []*os.File{child}
	if spec.Network != nil {
		m.cmd.ExtraFiles = append(m.cmd.ExtraFiles, spec.Network)
		args = append(args, "--pass-fd", fmt.Sprintf("4:%d", link.BoxedNetwork))
	}
	for _, disk := range spec.Disks[1:] {
		kept, err := os.Open(disk.Path)
		if err != nil {
			parent.Close()
			return err
		}
		defer kept.Close()
		m.cmd.ExtraFiles = append(m.cmd.ExtraFiles, kept)
		args = append(args, "--pass-fd", fmt.Sprintf("%d:%d", 2+len(m.cmd.ExtraFiles), link.BoxedKept))
	}
	m.cmd.Args = append(append(m.cmd.Args, args...), "guest")
	m.cmd.Env = []string{}
	m.cmd.Dir = "/"
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if spec.Console != nil {
		m.cmd.Stdout = spec.Console
	}
	m.cmd.Stderr = &m.log
	m.link = parent
	// All of runsc holds its standard error, so that Wait returns when all of it has ended.
	m.cmd.WaitDelay = endLimit
	started := make(chan error)
	go m.watch(started, spec.VCPUs)
	if err := <-started; err != nil {
		parent.Close()
		return fmt.Errorf("cannot run %s: %w", program, err)
	}
	return nil
}

// endLimit is how long runsc's children may take to end after it.
const endLimit = 5 * time.Second

// watch starts and reaps the program on one thread: the kernel sends the parent's death signal when the
// thread ends that started the child. That thread is never used again.
func (m *machine) watch(started chan<- error, vcpus int) {
	runtime.LockOSThread()
	err := pin(vcpus)
	if err == nil {
		_, err = vmm.Deafen()
	}
	if err == nil {
		err = m.cmd.Start()
	}
	started <- err
	if err != nil {
		return
	}
	m.err = m.reason(m.cmd.Wait())
	os.RemoveAll(m.dir)
	close(m.done)
}

// pin keeps this thread, and what it starts, to as many processors as the guest is to have.
func pin(vcpus int) error {
	var allowed, mine unix.CPUSet
	if vcpus <= 0 {
		vcpus = 1
	}
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return err
	}
	have := allowed.Count()
	if vcpus >= have {
		return nil
	}
	// Guests that begin at different places do not share one processor while others idle.
	skip := os.Getpid() % have
	for i, taken := 0, 0; taken < vcpus && i < 2*len(allowed)*64; i++ {
		cpu := i % (len(allowed) * 64)
		if !allowed.IsSet(cpu) || mine.IsSet(cpu) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		mine.Set(cpu)
		taken++
	}
	return unix.SchedSetaffinity(0, &mine)
}

// reason says why the guest ended.
func (m *machine) reason(err error) error {
	const killed = 128 + int(syscall.SIGKILL)
	var exit *exec.ExitError
	switch {
	case m.killed.Load():
		return vmm.ErrKilled
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("runsc ended: %w", err)
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() && status.Signal() == syscall.SIGKILL || exit.ExitCode() == killed {
		return fmt.Errorf("runsc was %w, perhaps by the host for want of memory", vmm.ErrKilledOutside)
	}
	why := fmt.Sprintf("runsc ended with exit status %d", exit.ExitCode())
	if last := m.log.last(); last != "" {
		why += ": " + last
	}
	return errors.New(why)
}

// PID is runsc's process id.
func (m *machine) PID() int { return m.cmd.Process.Pid }

// Link is the parent's end of the guest's link.
func (m *machine) Link() io.ReadWriteCloser { return m.link }

// Done is closed when runsc has been reaped.
func (m *machine) Done() <-chan struct{} { return m.done }

// Err says why runsc ended.
func (m *machine) Err() error {
	select {
	case <-m.done:
		return m.err
	default:
		return nil
	}
}

// Dying tells whether runsc was killed, or the process that is the guest's kernel.
func (m *machine) Dying() bool {
	select {
	case <-m.done:
		return true // and the number may be another's
	default:
	}
	all := family(m.PID())
	i := slices.IndexFunc(all, isSentry)
	return i < 0 || dying(all[i]) || dying(all[0])
}

// Confinement says what confines the guest.
func (m *machine) Confinement() string {
	return "gVisor: a kernel in user space, with namespaces and a system call filter of its own"
}

// Kill kills runsc, with which its children end.
func (m *machine) Kill() error {
	select {
	case <-m.done:
	default:
		m.killed.Store(true)
		m.cmd.Process.Kill() // fails only if it has ended
	}
	<-m.done
	return nil
}

// tail keeps the last of what runsc says.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	const most = 8 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b[max(0, len(b)-most):]...)
	t.kept = t.kept[max(0, len(t.kept)-most):]
	return len(b), nil
}

// last is the last line, printable.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.kept), []byte("\n"))
	line := strings.ToValidUTF8(string(lines[len(lines)-1]), "?")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, line)
	return line[:min(len(line), 300)]
}
