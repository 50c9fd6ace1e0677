package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/socketpair"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// insideUser is the number of QEMU's user in a user namespace of its own: not 0, since nothing in there is to
// be done as root.
const insideUser = 1000

// shimTimeout bounds the shim's way from its start to its answer.
const shimTimeout = 20 * time.Second

// programs are what QEMU consists of, and what it reads of the host: libraries, and the firmware for its
// machines. A QEMU of somebody's own, outside of the system's directories, has those beside it.
func programs(binary string) []string {
	paths := []string{"/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/lib", "/lib64",
		"/nix/store", "/gnu/store", "/usr/share/qemu", "/usr/share/seabios", "/usr/share/qemu-firmware",
		"/usr/local/share/qemu", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"}
	for _, system := range []string{"/usr/bin/", "/usr/local/bin/", "/usr/libexec/", "/bin/", "/nix/store/",
		"/gnu/store/"} {
		if strings.HasPrefix(binary, system) {
			return append(paths, binary)
		}
	}
	paths = append(paths, "/bin", "/usr/bin") // It may be a script.
	dir := filepath.Dir(binary)
	prefix := filepath.Dir(dir)
	return append(paths, dir, filepath.Join(prefix, "lib"), filepath.Join(prefix, "lib64"),
		filepath.Join(prefix, "share", "qemu"), filepath.Join(prefix, "share", "seabios"))
}

// confined starts QEMU confined by all that the host grants.
func (d *Driver) confined(ctx context.Context, binary string, c command, spec vmm.Spec) (*process, error) {
	if !confining {
		cmd := exec.Command(binary, c.args...)
		cmd.ExtraFiles = c.files
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
		return start(cmd, spec.Console, spec.Log)
	}
	g, err := d.grants(ctx)
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(binary)
	if err != nil {
		return nil, err
	}
	o := order{
		Hostname:  "qemu",
		Programs:  programs(real),
		Read:      c.reads,
		FileBytes: longest(spec),
		Borrow:    g.Borrow && c.lent,
	}
	if c.become != "" {
		o.Checkpoint, o.Unflushed = c.become, !durable(spec)
	}
	lent, err := c.lend(spec)
	if err != nil {
		return nil, err
	}
	if c.lent && !g.Borrow {
		o.Write = []string{spec.Memory.Path}
		g.User = 0 // Another user could not open it.
	}
	for _, path := range o.Read {
		if info, err := os.Stat(path); err == nil && info.Mode()&0o004 == 0 {
			g.User = 0 // The same, and it is not for us to open it to everybody.
		}
	}
	if spec.Accelerator == vmm.KVM {
		o.Device = d.options.KVMDevice
		o.Group = groupOf(o.Device, g.User)
	}
	c.args = append([]string{real}, c.args...)
	p, said, listener, err := startShim(ctx, g, o, c, spec.Console, spec.Log)
	if err != nil {
		lent.Close()
		d.forget()
		return nil, err
	}
	p.confinement = report(g, said, o)
	if listener != nil {
		go func() {
			defer lent.Close()
			if err := confine.Lend(ctx, listener, lent); err != nil && ctx.Err() == nil {
				p.kill() // It would wait for ever.
			}
		}()
	}
	return p, nil
}

// lend opens the file of the guest's memory for what the guest does with it, and makes it if need be: QEMU,
// which may be another user, opens it by its path. It gives a file, perhaps a nil one, to be closed.
func (c command) lend(spec vmm.Spec) (*os.File, error) {
	if !c.lent {
		return nil, nil
	}
	if !spec.Memory.Shared {
		return os.Open(spec.Memory.Path)
	}
	file, err := os.OpenFile(spec.Memory.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(int64(spec.MemMiB) << 20); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// longest is how long QEMU may make a file, in bytes.
func longest(spec vmm.Spec) uint64 {
	n := uint64(spec.MemMiB) << 20
	for _, disk := range spec.Disks {
		if info, err := disk.File.Stat(); err == nil {
			n = max(n, uint64(info.Size()))
		}
	}
	return n + 64<<20 // a state's
}

// groupOf is the group by which another user than root may open the device, 0 if that is of no use.
func groupOf(device string, user int) int {
	var st unix.Stat_t
	if user == 0 || unix.Stat(device, &st) != nil || st.Mode&0o060 != 0o060 {
		return 0
	}
	return int(st.Gid)
}

// startShim starts the shim, and returns when it has confined itself and is about to become QEMU. The
// listener is for [confine.Lend], nil if nothing is to be lent.
func startShim(ctx context.Context, g granted, o order, c command, console, log *os.File) (*process, outcome,
	*os.File, error) {
	var said outcome
	o.Namespaces, o.User, o.Control = g.Namespaces, g.User, firstFile+len(c.files)
	parent, child, err := socketpair.Files("control", unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, said, nil, err
	}
	defer child.Close()
	defer parent.Close()
	encoded, err := json.Marshal(o)
	if err != nil {
		return nil, said, nil, err
	}
	cmd := exec.Command("/proc/self/exe", append([]string{Subcommand, string(encoded)}, c.args...)...)
	cmd.Args[0] = "pyro"
	cmd.ExtraFiles = append(c.files[:len(c.files):len(c.files)], child)
	cmd.SysProcAttr = attributes(g)
	p, err := start(cmd, console, log)
	if err != nil {
		return nil, said, nil, err
	}
	child.Close()
	said, listener, err := hear(ctx, parent)
	if err == nil && said.Error != "" {
		err = errors.New(said.Error)
	}
	if err != nil {
		p.kill()
		if last := p.tail.lastLine(); last != "" && said.Error == "" {
			err = fmt.Errorf("%w%s", err, after(last))
		}
		return nil, said, nil, fmt.Errorf("cannot confine qemu: %w", err)
	}
	return p, said, listener, nil
}

// attributes says what the shim is born with.
func attributes(g granted) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: uintptr(g.Namespaces), Setsid: true, Pdeathsig: syscall.SIGKILL}
	if !g.Namespaces.Has(confine.User) {
		return a
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: insideUser, HostID: os.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: insideUser, HostID: os.Getegid(), Size: 1}}
	// Not being 0, it would lose what its new user namespace gives when pyro is executed in it.
	a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
	return a
}

// hear reads the shim's answer.
func hear(ctx context.Context, control *os.File) (said outcome, listener *os.File, err error) {
	deadline := time.Now().Add(shimTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	message, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	var n, r int
	for {
		ready := []unix.PollFd{{Fd: int32(control.Fd()), Events: unix.POLLIN}}
		// The wait is cut up so that the end of the context is seen.
		_, err := unix.Poll(ready, int((20 * time.Millisecond).Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return said, nil, err
		}
		if ready[0].Revents != 0 {
			break
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return said, nil, errors.Join(errors.New("it takes too long"), ctx.Err())
		}
	}
	n, r, _, _, err = unix.Recvmsg(int(control.Fd()), message, rights, unix.MSG_CMSG_CLOEXEC)
	runtime.KeepAlive(control)
	if err != nil || n == 0 {
		return said, nil, errors.Join(errors.New("the process that was to become qemu has ended"), err)
	}
	if messages, err := unix.ParseSocketControlMessage(rights[:r]); err == nil && len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			listener = os.NewFile(uintptr(fds[0]), "lent")
		}
	}
	if err := json.Unmarshal(message[:n], &said); err != nil {
		if listener != nil {
			listener.Close()
		}
		return said, nil, err
	}
	return said, listener, nil
}

// report says what QEMU is confined by.
func report(g granted, said outcome, o order) confine.Report {
	has, filtered := g.Namespaces.Has, said.CallsErr == ""
	why := func(n confine.Namespace) error {
		if reason := g.Refused[string(n)]; reason != "" {
			return errors.New(reason)
		}
		return nil
	}
	lines := confine.Report{
		fileLine(g, said),
		confine.Choose("network", has(confine.Net), "a network namespace without a way out", filtered,
			"no sockets may be opened", why(confine.Net)),
		confine.Choose("processes", has(confine.PID), "a pid namespace hides the host's", filtered &&
			said.Landlock >= confine.LandlockScopes,
			"Landlock keeps signals from the host's, and they may not be looked into", why(confine.PID)),
		confine.Choose("shared memory", has(confine.IPC), "an ipc namespace", filtered,
			"the system calls are refused", why(confine.IPC)),
		privileges(g, said),
		confine.Choose("system calls", filtered, "seccomp filters, qemu's own and another", false, "",
			errors.New(said.CallsErr)),
		{Name: "resources", Confined: true,
			Detail: "no core files; files, their length and threads are limited"},
	}
	if o.Borrow || len(o.Write) > 0 {
		lines = append(lines, confine.Choose("memory's file", o.Borrow && said.BorrowErr == "",
			"open for no more than it is used for", false, "",
			errors.New("qemu has it open for writing; changes are found at the next start")))
	}
	return lines
}

func fileLine(g granted, said outcome) confine.Line {
	var by []string
	if g.Namespaces.Has(confine.Mount) {
		by = append(by, "a view of its own files alone")
	}
	if said.Landlock > 0 {
		by = append(by, fmt.Sprintf("Landlock version %d", said.Landlock))
	}
	line := confine.Line{Name: "files", Confined: len(by) > 0, Detail: strings.Join(by, " and ")}
	if !line.Confined {
		line.Detail = "all that the user may read or write is open: " +
			"neither a mount namespace nor Landlock is to be had"
	}
	return line
}

func privileges(g granted, said outcome) confine.Line {
	by := []string{"no new privileges", "no capabilities"}
	if said.BoundsErr == "" {
		by = append(by, "an empty bounding set")
	}
	switch {
	case g.User != 0:
		by = append([]string{fmt.Sprintf("user %d instead of root", g.User)}, by...)
	case os.Geteuid() == 0:
		return confine.Line{Name: "privileges", Detail: "it is root's, with " + strings.Join(by, ", ")}
	case g.Namespaces.Has(confine.User):
		by = append(by, "a user namespace")
	}
	return confine.Line{Name: "privileges", Confined: true, Detail: strings.Join(by, ", ")}
}
