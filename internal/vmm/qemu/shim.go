package qemu

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Subcommand is the hidden subcommand of pyro that must call [Main] with the arguments after it.
const Subcommand = "confine-qemu"

// Limits on QEMU, beside those that follow from its guest.
const (
	maxFiles   = 1024 // open files
	maxThreads = 512  // of the user in a namespace of its own
	maxNobody  = 8192 // threads of all the VMs that root runs
	sooner     = 500  // added to QEMU's badness, in thousandths of the memory, when the host runs out of it
)

// order is what the shim is to do, as JSON in an argument.
type order struct {
	Namespaces confine.Namespaces `json:"namespaces"`
	Hostname   string             `json:"hostname"`
	User       int                `json:"user,omitempty"`  // to become, in the host's numbers; 0 is none
	Group      int                `json:"group,omitempty"` // the same
	Programs   []string           `json:"programs"`        // what QEMU consists of, to be read
	Read       []string           `json:"read,omitempty"`  // files
	Write      []string           `json:"write,omitempty"` // files
	Device     string             `json:"device,omitempty"`
	Checkpoint string             `json:"checkpoint,omitempty"` // to become instead of the program
	Unflushed  bool               `json:"unflushed,omitempty"`  // what QEMU flushes need not reach the disk
	Borrow     bool               `json:"borrow"`               // one file is lent
	FileBytes  uint64             `json:"file_bytes"`           // how long a file may become
	// the file descriptor to answer on; those before it are QEMU's
	Control int `json:"control"`
}

// outcome is what the shim says before it becomes QEMU, as JSON on its control socket, perhaps with a
// listener for [confine.Lend].
type outcome struct {
	Error    string `json:"error,omitempty"` // why it does not
	Landlock int    `json:"landlock,omitempty"`
	// Why a layer is missing that QEMU runs without.
	LandlockErr string `json:"landlock_error,omitempty"`
	CallsErr    string `json:"calls_error,omitempty"`
	BoundsErr   string `json:"bounds_error,omitempty"`
	BorrowErr   string `json:"borrow_error,omitempty"`
}

// Main is the entry of the re-executed pyro: args follow [Subcommand], an order and then a program with its
// arguments. It confines itself and becomes the program, so that it returns only if that fails. With no
// program it only tries.
func Main(args []string) int {
	// What is given up belongs to a thread, and the program goes on with that of the thread that it was
	// started by.
	runtime.LockOSThread()
	var o order
	if len(args) == 0 || json.Unmarshal([]byte(args[0]), &o) != nil {
		fmt.Fprintln(os.Stderr, "pyro: this subcommand is for pyro's own use")
		return 2
	}
	said, listener := become(o)
	message, err := json.Marshal(said)
	if err != nil {
		return 1
	}
	var rights []byte
	if listener != nil {
		rights = unix.UnixRights(int(listener.Fd()))
	}
	// A parent that is gone has left nobody to send to: what tells of its end was set before.
	if err := unix.Sendmsg(o.Control, message, rights, nil, unix.MSG_NOSIGNAL); err != nil ||
		said.Error != "" {
		return 1
	}
	if listener != nil {
		listener.Close()
	}
	if len(args) == 1 {
		return 0
	}
	// Go unblocks what this process was started with; a program of another kind leaves it as it is.
	if _, err := vmm.Deafen(); err != nil {
		return 1
	}
	err = syscall.Exec(cmp.Or(o.Checkpoint, args[1]), args[1:], []string{})
	fmt.Fprintf(os.Stderr, "cannot run %s: %v\n", args[1], err)
	return 1
}

// become gives up what the order says.
func become(o order) (said outcome, listener *os.File) {
	for _, step := range []func(order) error{limit, view} {
		if err := step(o); err != nil {
			return outcome{Error: err.Error()}, nil
		}
	}
	said.BoundsErr = reason(bound())
	if err := change(o); err != nil {
		return outcome{Error: err.Error()}, nil
	}
	said.Landlock = confine.LandlockVersion()
	if err := restrictFiles(o); err != nil {
		said.Landlock, said.LandlockErr = 0, err.Error()
	}
	said.CallsErr = reason(calls(o).Restrict())
	if o.Borrow {
		var err error
		listener, err = confine.Borrow()
		said.BorrowErr = reason(err)
	}
	return said, listener
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// limit lowers the limits on resources, and lets this process be the first to go when the host runs out of
// memory.
func limit(o order) error {
	if err := confine.KeepFiles(o.Control); err != nil {
		return err
	}
	for fd := firstFile; fd < o.Control; fd++ { // QEMU's own
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	unix.CloseOnExec(o.Control)
	// It is more than before, so that it is not refused; in a container it may not be there.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(fmt.Sprint(sooner)), 0)
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: o.FileBytes}
	switch { // Otherwise all that the user runs would count.
	case o.Namespaces.Has(confine.User):
		limits[unix.RLIMIT_NPROC] = maxThreads
	case o.User != 0:
		limits[unix.RLIMIT_NPROC] = maxNobody
	}
	for resource, to := range limits {
		if err := confine.Lower(resource, to); err != nil {
			return err
		}
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("cannot read a resource limit: %w", err)
	}
	files.Max = min(files.Max, maxFiles)
	files.Cur = files.Max
	// The runtime would undo it otherwise.
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("cannot lower a resource limit: %w", err)
	}
	return nil
}

// view gives this process a root file system that has QEMU's files alone.
func view(o order) error {
	if o.Namespaces.Has(confine.UTS) {
		if err := unix.Sethostname([]byte(o.Hostname)); err != nil {
			return fmt.Errorf("cannot set the host name: %w", err)
		}
	}
	if !o.Namespaces.Has(confine.Mount) {
		return nil
	}
	unix.Umask(0o022) // Another user is to pass the directories of the view.
	v, err := confine.NewView()
	if err != nil {
		return err
	}
	for _, path := range o.Programs {
		v.Show(path)
	}
	for _, path := range o.Read {
		v.Show(path)
	}
	for _, path := range o.Write {
		v.Bind(v.Host+path, path, false, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	}
	if o.Device != "" {
		device(v, o)
	}
	return v.Seal()
}

// device shows QEMU the one device that it opens. Another user than root may not be let by that of the host.
func device(v *confine.View, o order) {
	var st unix.Stat_t
	if unix.Stat(v.Host+o.Device, &st) != nil {
		return
	}
	if o.User == 0 || st.Mode&0o006 == 0o006 || o.Group != 0 {
		v.Bind(v.Host+o.Device, o.Device, false, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
		return
	}
	dir := filepath.Dir(o.Device)
	v.Point(dir, true)
	v.Do(unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "size=64k,mode=755"),
		"mount a place for the device")
	if v.Err() == nil {
		v.Do(unix.Mknod(o.Device, unix.S_IFCHR|0o666, int(st.Rdev)), "make the device")
	}
}

// bound empties the set that bounds what this process can ever become able to do. Only who is able to much
// can do so.
func bound() error {
	for c := uintptr(0); ; c++ {
		have, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_READ, c, 0)
		if errno != 0 {
			return nil // There are no more.
		}
		if have == 0 {
			continue
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); errno != 0 {
			return fmt.Errorf("cannot empty the bounding set of capabilities: %w", errno)
		}
	}
}

// change becomes another user if need be, and one who can do nothing more than any user. All of it concerns
// this thread alone.
func change(o order) error {
	if o.User != 0 {
		user, group := uintptr(o.User), uintptr(cmp.Or(o.Group, o.User))
		for _, step := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, group, group, group},
			{unix.SYS_SETRESUID, user, user, user}} {
			if _, _, errno := unix.RawSyscall(step[0], step[1], step[2], step[3]); errno != 0 {
				return fmt.Errorf("cannot become user %d: %w", user, errno)
			}
		}
	}
	header, none := confine.CapabilityHeader(), [2]unix.CapUserData{}
	for _, step := range []struct {
		what string
		call [3]uintptr
	}{
		{"clear ambient capabilities", [3]uintptr{unix.SYS_PRCTL, unix.PR_CAP_AMBIENT,
			unix.PR_CAP_AMBIENT_CLEAR_ALL}},
		{"drop capabilities", [3]uintptr{unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)),
			uintptr(unsafe.Pointer(&none))}},
		{"forbid new privileges", [3]uintptr{unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1}},
		// A change of identity has cleared it.
		{"be ended with the parent", [3]uintptr{unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG,
			uintptr(unix.SIGKILL)}},
	} {
		if _, _, errno := unix.RawSyscall6(step.call[0], step.call[1], step.call[2], 0, 0, 0, 0); errno != 0 {
			return fmt.Errorf("cannot %s: %w", step.what, errno)
		}
	}
	return nil
}

// restrictFiles lets QEMU read its program and its files, and nothing else, whatever its user may. In a view
// of its own it is a second wall behind the first.
func restrictFiles(o order) error {
	var rules []landlock.Rule
	for _, path := range append(o.Programs, o.Read...) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err == nil && info.IsDir():
			rules = append(rules, landlock.RODirs(path))
		default:
			rules = append(rules, landlock.ROFiles(path).IgnoreIfMissing())
		}
	}
	for _, path := range o.Write {
		rules = append(rules, landlock.RWFiles(path))
	}
	if o.Device != "" {
		rules = append(rules, landlock.RWFiles(o.Device).WithIoctlDev().IgnoreIfMissing())
	}
	if err := landlock.V9.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("cannot restrict files with Landlock: %w", err)
	}
	return nil
}

// calls refuses what QEMU has no use for, beside what its own filter refuses: it is handed all sockets, and
// looks into no other process.
func calls(o order) confine.Calls {
	c := confine.Calls{Denied: slices.Concat(confine.Spies(), confine.Sharing(), confine.Times(), []uint32{
		// of its user's own files
		unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT,
		unix.SYS_FSETXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_FLOCK,
	})}
	if o.Unflushed {
		c.Void = []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC}
	}
	return c
}
