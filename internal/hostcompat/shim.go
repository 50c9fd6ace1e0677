package hostcompat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/process"
)

// Subcommand is the hidden subcommand of pyro that must call [Main] with the arguments after it.
const Subcommand = "hostcompat-init"

// Modes of [Main].
const (
	modeInit  = "init"  // confines itself and answers the link
	modeCheck = "check" // confines itself and ends
	modeKeep  = "keep"  // runs one command, see keeper.go
)

// File descriptors that the shim is started with.
const (
	linkFD       = 3
	statusFD     = 4
	firstMountFD = 5 // of detached mounts of ownDirs, in this order
)

// ownDirs are the directories below the VM's own that its commands may write, and where a view shows them.
var ownDirs = []struct{ name, path string }{
	{"workspace", workspacePath},
	{"home", homePath},
	{"tmp", tempPath},
}

// settings is what the shim is told, as JSON in an argument.
type settings struct {
	Layers   confine.Namespaces
	Dir      string
	Hostname string
	MountFDs int // how many detached mounts of ownDirs were passed, all or none
	DropTo   int // host uid and gid to become, if no user namespace does it; 0 is none
}

// places are where commands find their own directories.
type places struct{ Workspace, Home, Temp string }

func (s settings) places() places {
	if s.Layers.Has(confine.Mount) {
		return places{workspacePath, homePath, tempPath}
	}
	return places{filepath.Join(s.Dir, "workspace"), filepath.Join(s.Dir, "home"),
		filepath.Join(s.Dir, "tmp")}
}

// outcome is what the shim says of its start, as JSON on statusFD.
type outcome struct {
	Error string // why it could not start; empty means that it serves
	Kept  kept   // what a first command was confined by
}

// Main is the entry of the re-executed pyro: args follow [Subcommand]. It returns the exit status.
func Main(args []string) int {
	if len(args) == 1 && args[0] == modeKeep {
		return keep()
	}
	var s settings
	if len(args) != 2 || json.Unmarshal([]byte(args[1]), &s) != nil {
		fmt.Fprintln(os.Stderr, "pyro: this subcommand is for pyro's own use")
		return 2
	}
	status := os.NewFile(statusFD, "status")
	k := &keepers{alive: map[int]bool{}}
	var result outcome
	err := become(s)
	if err == nil {
		result.Kept, err = k.first(s)
	}
	if err != nil {
		result.Error = err.Error()
	}
	if errors.Join(json.NewEncoder(status).Encode(result), status.Close()) != nil || err != nil {
		return 1
	}
	if args[0] == modeInit {
		m := &machine{settings: s, own: s.places(), keepers: k}
		m.serve()
	}
	if !s.Layers.Has(confine.PID) {
		process.EndTree(os.Getpid(), endWithin)
	}
	return 0
}

// first runs a command of no effect, which proves that commands can be run, and tells what confines them.
func (k *keepers) first(s settings) (kept, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return kept{}, fmt.Errorf("cannot open the null device: %w", err)
	}
	defer null.Close()
	own := s.places()
	o := order{Layers: s.Layers, Places: own,
		Command: process.Command{Argv: []string{"/bin/sh", "-c", ":"}, Dir: own.Workspace}}
	c, by, err := k.start(o, null, null, null)
	if err != nil {
		return kept{}, err
	}
	if e := c.wait(); e != (end{}) {
		return kept{}, fmt.Errorf("cannot run a first command: exit status %d %s", e.code,
			confine.OneLine(e.line+e.failure))
	}
	return by, nil
}

// become turns this process into what the settings ask for: in its own view, without privileges, reaper of
// what commands leave behind.
func become(s settings) error {
	// As pid 1 of its namespace it must not be ended by a command, and commands must not inherit signals that
	// are ignored.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals)
	go obey(signals, s.Layers)
	unix.Umask(0o022)
	if err := confine.KeepFiles(firstMountFD + s.MountFDs); err != nil {
		return err
	}
	if s.Layers.Has(confine.UTS) {
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return fmt.Errorf("cannot set the host name: %w", err)
		}
	}
	if s.Layers.Has(confine.Net) {
		if err := loopbackUp(); err != nil {
			return err
		}
	}
	if s.Layers.Has(confine.Mount) {
		if err := makeView(s, s.Layers.Has(confine.PID)); err != nil {
			return err
		}
	}
	return dropPrivileges(s)
}

// obey takes all signals, and acts on the one that tells of the parent's death if that does not kill.
func obey(signals <-chan os.Signal, l confine.Namespaces) {
	for each := range signals {
		if each == syscall.SIGTERM && !l.Has(confine.PID) {
			process.EndTree(os.Getpid(), endWithin)
			os.Exit(1)
		}
	}
}

// loopbackUp starts the one device of a new network namespace, so that commands can talk to each other.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open a socket for the loopback device: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("cannot start the loopback device: %w", err)
	}
	return nil
}

// dropPrivileges gives up, on all threads, what the setting up needed.
func dropPrivileges(s settings) error {
	if s.DropTo > 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(s.DropTo, s.DropTo, s.DropTo),
			syscall.Setresuid(s.DropTo, s.DropTo, s.DropTo)); err != nil {
			return fmt.Errorf("cannot become user %d: %w", s.DropTo, err)
		}
	}
	header, none := confine.CapabilityHeader(), [2]unix.CapUserData{}
	steps := []struct {
		what string
		call [6]uintptr
	}{
		{"forbid new privileges", [6]uintptr{unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1}},
		{"clear ambient capabilities", [6]uintptr{unix.SYS_PRCTL, unix.PR_CAP_AMBIENT,
			unix.PR_CAP_AMBIENT_CLEAR_ALL}},
		{"drop capabilities", [6]uintptr{unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)),
			uintptr(unsafe.Pointer(&none))}},
		// A change of identity has cleared it.
		{"be ended with the parent", [6]uintptr{unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG,
			uintptr(deathSignal(s.Layers))}},
		{"be closed to debuggers", [6]uintptr{unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, dumpable(s.Layers)}},
		{"adopt orphans", [6]uintptr{unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1}},
	}
	for _, step := range steps {
		if _, _, errno := psx.Syscall6(step.call[0], step.call[1], step.call[2], step.call[3], 0, 0,
			0); errno != 0 {
			return fmt.Errorf("cannot %s: %w", step.what, errno)
		}
	}
	return limitResources(s.Layers)
}

// dumpable closes a process to commands of the same user in its pid namespace. Without one those may not
// debug at all, and a /proc that hides what cannot be debugged must not hide keepers from the shim.
func dumpable(l confine.Namespaces) uintptr {
	if l.Has(confine.PID) {
		return 0
	}
	return 1
}

// maxProcesses bounds a fork bomb; the kernel counts it by user and user namespace.
const maxProcesses = 4096

func limitResources(l confine.Namespaces) error {
	if err := confine.Lower(unix.RLIMIT_CORE, 0); err != nil {
		return err
	}
	if l.Has(confine.User) {
		return confine.Lower(unix.RLIMIT_NPROC, maxProcesses)
	}
	return nil // without a namespace the limit would count the user's other processes as well
}
