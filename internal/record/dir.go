package record

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Root is the directory that holds the VMs of one state directory.
type Root struct{ path string }

// NewRoot gives the root below a state directory. Nothing is made until a VM is.
func NewRoot(stateDir string) Root { return Root{filepath.Join(stateDir, "vms")} }

// StateDir is the state directory.
func (r Root) StateDir() string { return filepath.Dir(r.path) }

// idPattern keeps an id from ever being a path.
var idPattern = regexp.MustCompile(`^(run|vm|task|build|pool)-[0-9a-f]{12}$`)

// ValidID tells whether a word can be a VM's id at all.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// Path is the directory of a VM.
func (r Root) Path(id string) string { return filepath.Join(r.path, id) }

// Exists tells whether a VM's directory is there.
func (r Root) Exists(id string) bool {
	if !ValidID(id) {
		return false
	}
	_, err := os.Lstat(r.Path(id))
	return err == nil
}

// IDs lists the VMs, sorted.
func (r Root) IDs() ([]string, error) {
	entries, err := os.ReadDir(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if ValidID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// LimitError says that as many VMs as allowed are alive.
type LimitError struct{ Limit int }

func (e *LimitError) Error() string {
	return fmt.Sprintf("%d VMs and tasks are alive, the limit", e.Limit)
}

// Create makes a VM's directory, locked from its first moment, unless limit live ones exist that counted says
// count. The lock's file is to be handed to the supervisor; closing every copy of it frees the lock.
func (r Root) Create(
	kind Kind, limit int, counted func(id string) bool,
) (id string, lock *os.File, err error) {
	if err := os.MkdirAll(r.path, 0o700); err != nil {
		return "", nil, err
	}
	gate, err := r.enter()
	if err != nil {
		return "", nil, err
	}
	defer gate.Close()
	if counted != nil {
		if err := r.room(limit, counted, ""); err != nil {
			return "", nil, err
		}
	}
	return r.make(kind)
}

// make makes a VM's directory, locked. The caller holds the gate.
func (r Root) make(kind Kind) (id string, lock *os.File, err error) {
	var random [6]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", nil, err
	}
	id = string(kind) + "-" + hex.EncodeToString(random[:])
	if err := os.Mkdir(r.Path(id), 0o700); err != nil {
		return "", nil, err
	}
	lock, err = TryLock(r.Path(id))
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(r.Path(id)))
	}
	return id, lock, nil
}

// Revive locks the directory of a VM whose supervisor is gone, under the same limit. It gives [ErrLocked]
// if the supervisor lives after all.
func (r Root) Revive(id string, limit int, counted func(id string) bool) (*os.File, error) {
	gate, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	lock, err := TryLock(r.Path(id))
	if err != nil {
		return nil, err
	}
	if err := r.room(limit, counted, id); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// Gone tells whether nobody supervises a directory; without a lock file to hold, nobody can. It asks with a
// shared lock, so that those who ask do not take each other for a supervisor.
func (r Root) Gone(id string) bool {
	f, err := os.Open(filepath.Join(r.Path(id), LockFile))
	if err != nil {
		return true
	}
	defer f.Close()
	return !errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Sweep removes the directories of dead supervisors that orphaned picks, and names them. It keeps out of the
// way of those that are just being made.
func (r Root) Sweep(orphaned func(id string) bool) (swept []string, err error) {
	ids, err := r.IDs()
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	gate, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	var failed []error
	for _, id := range ids {
		if !r.Gone(id) || !orphaned(id) {
			continue
		}
		if lock, err := TryLock(r.Path(id)); err == nil {
			gone := r.Remove(id)
			if gone == nil {
				swept = append(swept, id)
			}
			failed = append(failed, gone, lock.Close())
		}
	}
	return swept, errors.Join(failed...)
}

// Remove deletes a VM's directory. The caller holds its lock, which is deleted last: while anything of the VM
// is left, so is what guards it. The record is deleted first: a removal that is broken off leaves a directory
// without one, which is anybody's to sweep, and never a VM that looks whole and has lost its disk.
func (r Root) Remove(id string) error {
	dir := r.Path(id)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := removeIfThere(filepath.Join(dir, VMFile)); err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		if e.Name() != LockFile {
			failed = append(failed, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// enter waits for the one gate through which VMs come to life, so that a count is true when it is acted on.
func (r Root) enter() (*os.File, error) {
	gate, err := os.OpenFile(filepath.Join(r.path, ".gate"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(gate.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot lock %q: %w", gate.Name(), err), gate.Close())
	}
	return gate, nil
}

// Promised sums the memory, in MiB, of the VMs that live beside this one and were there before it, or run
// already. Those that pyro makes for itself are left out: they give way.
func (r Root) Promised(to VM) (mib int) {
	ids, err := r.IDs()
	if err != nil {
		return 0
	}
	for _, id := range ids {
		if id == to.ID || r.Gone(id) {
			continue
		}
		vm, err := Load(r.Path(id))
		if err != nil || vm.Kind == KindBuild || vm.State == StateStopped || r.IsSpare(id) {
			continue
		}
		if vm.State == StateStarted || vm.CreatedAt.Before(to.CreatedAt) {
			mib += vm.MemMiB
		}
	}
	return mib
}

func (r Root) room(limit int, counted func(id string) bool, except string) error {
	ids, err := r.IDs()
	if err != nil {
		return err
	}
	live := 0
	for _, id := range ids {
		if id != except && counted(id) && !r.Gone(id) {
			live++
		}
	}
	if live >= limit {
		return &LimitError{Limit: limit}
	}
	return nil
}

// ErrLocked says that a supervisor lives.
var ErrLocked = errors.New("the VM's supervisor is alive")

// TryLock takes a VM directory's lock, or gives [ErrLocked]. The lock belongs to the open file and to every
// copy of it in other processes; it is never inherited over exec unless handed on.
func TryLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, LockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for try := 0; errors.Is(err, unix.EWOULDBLOCK) && try < 5; try++ {
		// It may only be somebody who asks (see Gone).
		time.Sleep(time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("cannot lock %q: %w", path, err)
	}
	// The directory may have been removed, or made anew, between the open and the lock.
	var held, there unix.Stat_t
	if unix.Fstat(int(f.Fd()), &held) != nil || unix.Stat(path, &there) != nil || held.Ino != there.Ino {
		f.Close()
		return nil, fs.ErrNotExist
	}
	return f, nil
}

// WaitGone waits until a directory's supervisor has ended, or the time is up.
func (r Root) WaitGone(id string, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if r.Gone(id) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
}
