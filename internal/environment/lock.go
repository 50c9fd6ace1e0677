package environment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lock is an flock on a file that stays. It is released by unlock, or by the kernel when the process dies.
type lock struct{ f *os.File }

// lockPoll is how often a lock that another process holds is asked for again: waiting in flock(2) itself
// could not be given up.
const lockPoll = 50 * time.Millisecond

// takeLock locks path, shared or alone. It waits as long as the context lives.
func takeLock(ctx context.Context, path string, how int) (*lock, error) {
	for {
		l, err := tryLock(path, how)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// tryLock is takeLock without waiting; the error is EWOULDBLOCK if that would be needed.
func tryLock(path string, how int) (*lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil && !notOurs(err) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil && notOurs(err) && how == unix.LOCK_SH {
		f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // enough to share it
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f, how|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %q: %w", path, err)
	}
	return &lock{f}, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (l *lock) unlock() { l.f.Close() }

// tempDir is a directory that is locked as long as its maker lives.
type tempDir struct {
	path string
	lock *lock
}

const tempLock = "lock"

func (s *Store) tempDir(ctx context.Context) (*tempDir, error) {
	// Between its making and its locking a directory looks like one of a dead pull: see sweepTemp.
	making, err := takeLock(ctx, s.path("locks", "tmp"), unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer making.unlock()
	above := s.path("tmp")
	if err := os.MkdirAll(above, 0o755); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(above, "pull-")
	if err != nil {
		return nil, err
	}
	l, err := tryLock(filepath.Join(path, tempLock), unix.LOCK_EX)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return &tempDir{path, l}, nil
}

func (t *tempDir) close() error {
	err := os.RemoveAll(t.path)
	t.lock.unlock()
	return err
}

// blocks is what a file takes on disk.
func blocks(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
