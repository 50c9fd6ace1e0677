package hostcompat

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startWithin bounds the shim's way from its start to its first word, and from its kill to its end.
const startWithin = 20 * time.Second

// nobody is who commands of root run as on the host.
const nobody = 65534

// identity is who commands run as, in the host's numbers.
type identity struct {
	uid, gid int
	other    bool // than the caller
}

// identify gives the caller, or nobody where the caller is root and has the means to become that.
func identify() identity {
	self := identity{uid: os.Geteuid(), gid: os.Getegid()}
	header := capabilityHeader()
	var have [2]unix.CapUserData
	if self.uid != 0 || unix.Capget(&header, &have[0]) != nil {
		return self
	}
	for _, need := range []int{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN} {
		if have[0].Effective&(1<<need) == 0 {
			return self
		}
	}
	if !mapped("/proc/self/uid_map", nobody) || !mapped("/proc/self/gid_map", nobody) {
		return self
	}
	return identity{uid: nobody, gid: nobody, other: true}
}

func capabilityHeader() unix.CapUserHeader {
	return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
}

// mapped tells whether a user namespace knows a number, by its map: lines of first, first outside, count.
func mapped(path string, number int) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			continue
		}
		first, err1 := strconv.Atoi(fields[0])
		count, err2 := strconv.Atoi(fields[2])
		if errors.Join(err1, err2) == nil && first <= number && number-first < count {
			return true
		}
	}
	return false
}

// launch starts the shim and waits for its first word.
func launch(ctx context.Context, s settings, who identity, mode string) (*Guest, kept, error) {
	var files []*os.File // the shim's, from linkFD on
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, kept{}, fmt.Errorf("cannot make a link: %w", err)
	}
	g := &Guest{conn: os.NewFile(uintptr(pair[0]), "link"), layers: s.Layers, done: make(chan struct{})}
	files = append(files, os.NewFile(uintptr(pair[1]), "link"))
	status, write, err := os.Pipe()
	if err != nil {
		return nil, kept{}, errors.Join(fmt.Errorf("cannot make a pipe: %w", err), g.conn.Close())
	}
	defer status.Close()
	files = append(files, write)
	if who.other && s.Layers.has(layerMount) {
		mounts := detached(s.Dir)
		s.MountFDs = len(mounts)
		files = append(files, mounts...)
	}
	if who.other && !s.Layers.has(layerUser) {
		s.DropTo = who.uid
	}
	told, err := json.Marshal(s)
	if err != nil {
		return nil, kept{}, errors.Join(err, g.conn.Close())
	}
	g.cmd = &exec.Cmd{Path: "/proc/self/exe", Args: []string{"pyro", Subcommand, mode, string(told)}, Env: []string{}, Dir: "/",
		ExtraFiles: files, SysProcAttr: attributes(s.Layers, who)}
	if err := g.start(); err != nil {
		return nil, kept{}, errors.Join(err, g.conn.Close())
	}
	_ = write.Close()
	first, err := firstWord(ctx, status)
	if err != nil {
		return nil, kept{}, errors.Join(err, g.Kill())
	}
	return g, first, nil
}

// attributes says what the shim is born with.
func attributes(l layers, who identity) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: uintptr(l), Setsid: true, Pdeathsig: deathSignal(l)}
	if !l.has(layerUser) {
		return a
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: userID, HostID: who.uid, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: userID, HostID: who.gid, Size: 1}}
	if who.other {
		a.GidMappingsEnableSetgroups = true
		a.Credential = &syscall.Credential{Uid: userID, Gid: userID}
	}
	// Not being 0, it would lose what its new user namespace gives when pyro is executed in it.
	a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}
	return a
}

// deathSignal is what the end of the parent means to the shim: its end, and so that of all in its pid namespace, or, without
// one, the order to end them.
func deathSignal(l layers) syscall.Signal {
	if l.has(layerPID) {
		return syscall.SIGKILL
	}
	return syscall.SIGTERM
}

// start starts the shim from a thread that lives as long as the shim, for the kernel takes the end of the thread for
// the end of the parent.
func (g *Guest) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := g.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		if err := g.cmd.Wait(); err != nil {
			g.err = fmt.Errorf("the process that ran commands on the host ended: %w", err)
		}
		close(g.done)
	}()
	return <-started
}

// firstWord reads the shim's outcome.
func firstWord(ctx context.Context, status *os.File) (kept, error) {
	deadline := time.Now().Add(startWithin)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	stop := context.AfterFunc(ctx, func() { _ = status.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = status.SetReadDeadline(deadline)
	var o outcome
	if err := json.NewDecoder(status).Decode(&o); err != nil {
		return kept{}, fmt.Errorf("the process that runs commands on the host did not start: %w", errors.Join(err, ctx.Err()))
	}
	if o.Error != "" {
		return kept{}, errors.New(o.Error)
	}
	return o.Kept, nil
}

// detached makes mounts of the VM's directories that have no place yet, so that the shim can put them into its view
// though its user cannot reach their path. It gives none where the kernel cannot.
func detached(dir string) []*os.File {
	var mounts []*os.File
	for _, d := range ownDirs {
		fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(dir, d.name), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			for _, m := range mounts {
				_ = m.Close()
			}
			return nil
		}
		mounts = append(mounts, os.NewFile(uintptr(fd), d.name))
	}
	return mounts
}
