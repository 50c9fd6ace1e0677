package instances

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"golang.org/x/sys/unix"
)

// Destroy ends a VM and removes all of it, whatever state it is in: by its supervisor if that still answers,
// else without it.
func (i *Instances) Destroy(ctx context.Context, id string) error {
	if !i.root.Exists(id) {
		return i.notFound(id)
	}
	polite, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if i.askToEnd(polite, id) == nil && (i.root.WaitGone(id, time.Second) || !i.root.Exists(id)) {
		return nil
	}
	for range 50 {
		lock, err := record.TryLock(i.Dir(id))
		if err == nil {
			err = i.root.Remove(id)
			lock.Close()
			return err
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, record.ErrLocked) {
			return err
		}
		if err := killHolders(filepath.Join(i.Dir(id), record.LockFile)); err != nil {
			return err
		}
		i.root.WaitGone(id, 100*time.Millisecond)
	}
	return fmt.Errorf("cannot delete %q: its supervisor cannot be ended", id)
}

// Discard removes a VM that did not come to be. Its supervisor may be doing the same.
func (i *Instances) Discard(id string) error {
	err := i.Destroy(context.Background(), id)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// IsNotFound tells whether an error says that there is no such VM.
func IsNotFound(err error) bool {
	var far *link.Error
	return errors.As(err, &far) && far.Code == link.CodeNotFound
}

func (i *Instances) askToEnd(ctx context.Context, id string) error {
	done := make(chan error, 1)
	go func() {
		s, err := i.Connect(ctx, id)
		if err != nil {
			done <- err
			return
		}
		defer s.Close()
		done <- s.Client.Call(ctx, link.OpDelete, link.Empty{}, nil)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killHolders ends the processes of this user that hold a lock, this one excepted: the supervisor of a VM is
// found by the lock that it holds, never by a number that it once wrote down. Those who only ask whether it
// is held have the file open too, and are left alone.
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

// holds tells whether a process has a file open by which it is locked against all others. The file is
// compared by what it is, for its path may lead over a link.
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
