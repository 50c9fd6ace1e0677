package hostcompat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/socketpair"
)

// startWithin bounds the shim's way from its start to its first word, and from its kill to its end.
const startWithin = 20 * time.Second

// launch starts the shim and waits for its first word.
func launch(ctx context.Context, s settings, who confine.Identity, mode string) (*Guest, kept, error) {
	var files []*os.File // the shim's, from linkFD on
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	conn, child, err := socketpair.Files("link", unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, kept{}, err
	}
	g := &Guest{conn: conn, layers: s.Layers, done: make(chan struct{})}
	files = append(files, child)
	status, write, err := os.Pipe()
	if err != nil {
		return nil, kept{}, errors.Join(fmt.Errorf("cannot make a pipe: %w", err), g.conn.Close())
	}
	defer status.Close()
	files = append(files, write)
	if who.Other && s.Layers.Has(confine.Mount) {
		mounts := detached(s.Dir)
		s.MountFDs = len(mounts)
		files = append(files, mounts...)
	}
	if who.Other && !s.Layers.Has(confine.User) {
		s.DropTo = who.UID
	}
	told, err := json.Marshal(s)
	if err != nil {
		return nil, kept{}, errors.Join(err, g.conn.Close())
	}
	g.cmd = &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{"pyro", Subcommand, mode, string(told)},
		Env:         []string{},
		Dir:         "/",
		ExtraFiles:  files,
		SysProcAttr: attributes(s.Layers, who),
	}
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
func attributes(l confine.Namespaces, who confine.Identity) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: uintptr(l), Setsid: true, Pdeathsig: deathSignal(l)}
	if !l.Has(confine.User) {
		return a
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: userID, HostID: who.UID, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: userID, HostID: who.GID, Size: 1}}
	if who.Other {
		a.GidMappingsEnableSetgroups = true
		a.Credential = &syscall.Credential{Uid: userID, Gid: userID}
	}
	// Not being 0, it would lose what its new user namespace gives when pyro is executed in it.
	a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}
	return a
}

// deathSignal is what the end of the parent means to the shim: its end, and so that of all in its pid
// namespace, or, without one, the order to end them.
func deathSignal(l confine.Namespaces) syscall.Signal {
	if l.Has(confine.PID) {
		return syscall.SIGKILL
	}
	return syscall.SIGTERM
}

// start starts the shim from a thread that lives as long as the shim, for the kernel takes the end of the
// thread for the end of the parent.
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
		return kept{}, fmt.Errorf("the process that runs commands on the host did not start: %w",
			errors.Join(err, ctx.Err()))
	}
	if o.Error != "" {
		return kept{}, errors.New(o.Error)
	}
	return o.Kept, nil
}

// detached makes mounts of the VM's directories that have no place yet, so that the shim can put them into
// its view though its user cannot reach their path. It gives none if the kernel cannot.
func detached(dir string) []*os.File {
	var mounts []*os.File
	for _, d := range ownDirs {
		fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(dir, d.name),
			unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
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
