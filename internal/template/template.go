// Package template keeps booted guests frozen before their first command, to be cloned: memory in a file that
// clones map copy-on-write, the devices' state, and the writable disk. A template can make a start faster,
// never wrong: one that does not fit exactly is not found, and one that does not come up is thrown away.
package template

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/checkpoint"
)

// Format is part of each key: it is raised if a template made before would be wrong now.
const Format = 3

// Key is all that a template depends on. Anything that differs makes another template.
type Key struct {
	Format  int    `json:"format"`
	Image   string `json:"image"`  // digest
	Kernel  string `json:"kernel"` // path, content-addressed
	Initrd  string `json:"initrd"` // path, content-addressed: modules and agent
	VMM     string `json:"vmm"`    // the driver's fingerprint: version, machine, CPU model, accelerator
	Cmdline string `json:"words"`  // of the guest's kernel and agent; the JSON name stays, since it is hashed
	VCPUs   int    `json:"vcpus"`
	MemMiB  int    `json:"mem_mib"`
	DiskMiB int    `json:"disk_mib"`
	Network bool   `json:"network"`
}

// Name is the key's name on disk.
func (k Key) Name() string {
	k.Format = Format
	sum := sha256.Sum256(fmt.Appendf(nil, "%#v", k))
	return hex.EncodeToString(sum[:16])
}

// Files of a template.
const (
	memoryFile  = "memory"
	stateFile   = "state"
	scratchFile = "scratch.img"
	processFile = "process" // there may be none
	metaFile    = "template.json"
	lockFile    = "lock"
)

// meta is what must still be true of a template's files.
type meta struct {
	Key          Key       `json:"key"`
	MadeAt       time.Time `json:"made_at"`
	MemoryBytes  int64     `json:"memory_bytes"`
	MemoryOnDisk int64     `json:"memory_on_disk"`
	ScratchBytes int64     `json:"scratch_bytes"`
	StateSHA256  string    `json:"state_sha256"`
	Memory       stamp     `json:"memory"`
	Scratch      stamp     `json:"scratch"`
	Process      stamp     `json:"process"` // zero if there is none
}

// stamp is what tells that a file is still the one that was written, without reading it: whoever writes to a
// file changes its times, and nobody can set the time of the last change back. A copy has another stamp. The
// memory's has no such time: each task that is cloned from it links it, which changes that, too. Who is
// confined cannot set the other one back: the call is refused.
type stamp struct {
	Inode    uint64 `json:"inode"`
	Modified int64  `json:"modified_ns"`
	Changed  int64  `json:"changed_ns,omitempty"` // 0 is any
}

// Store is the templates of one cache directory.
type Store struct{ dir string }

// Open gives the store below a cache directory. Nothing is made until a template is.
func Open(cacheDir string) *Store { return &Store{filepath.Join(cacheDir, "templates")} }

// Template is one that was found. It stays whole until it is closed, whatever is pruned meanwhile.
type Template struct {
	Memory  string // path
	Scratch string // path
	State   *os.File
	Process string // path of the VMM's checkpoint; empty if there is none that fits this host as it is now
	Stale   bool   // there was one, so that it is worth to make the template anew
	dir     string
	lock    *os.File
}

// Close lets go of the template. What was opened or mapped from it may be used on.
func (t *Template) Close() error { return errors.Join(t.State.Close(), t.lock.Close()) }

// Find gives the template of a key, or nil if there is none. A damaged one is removed.
func (s *Store) Find(key Key) *Template {
	dir := filepath.Join(s.dir, key.Name())
	lock, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		return nil
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
		lock.Close()
		return nil // It is being removed.
	}
	t, err := open(dir, key)
	if err != nil {
		lock.Close()
		_ = drop(dir) // What cannot be removed is not found the next time either.
		return nil
	}
	t.lock = lock
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // For the least recently used; a clone is not worse for it.
	return t
}

func open(dir string, key Key) (_ *Template, err error) {
	m, err := readMeta(dir)
	if err != nil {
		return nil, err
	}
	key.Format = Format
	if m.Key != key {
		return nil, errors.New("the template is of another key")
	}
	t := &Template{dir: dir, Memory: filepath.Join(dir, memoryFile), Scratch: filepath.Join(dir, scratchFile)}
	memory, onDisk, err := sizes(t.Memory)
	if err != nil || memory != m.MemoryBytes || onDisk < m.MemoryOnDisk || !m.Memory.of(t.Memory) {
		return nil, fmt.Errorf("the template's memory is damaged: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	if scratch, _, err := sizes(t.Scratch); err != nil || scratch != m.ScratchBytes ||
		!m.Scratch.of(t.Scratch) {
		return nil, fmt.Errorf("the template's disk is damaged: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	if m.Process.Inode != 0 {
		t.Process = filepath.Join(dir, processFile)
		if !m.Process.of(t.Process) || !fits(t.Process) {
			t.Process, t.Stale = "", true
		}
	}
	if t.State, err = os.Open(filepath.Join(dir, stateFile)); err != nil {
		return nil, err
	}
	sum, err := digest(t.State)
	if err != nil || sum != m.StateSHA256 {
		return nil, fmt.Errorf("the template's state is damaged: %w", errors.Join(err, t.State.Close()))
	}
	_, err = t.State.Seek(0, io.SeekStart)
	return t, err
}

// fits tells whether a checkpoint may go on here and now.
func fits(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	return checkpoint.Fits(file) == nil
}

func readMeta(dir string) (m meta, err error) {
	data, err := os.ReadFile(filepath.Join(dir, metaFile))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(data, &m)
}

func digest(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), err
}

// sizes gives a file's length and what it takes on disk, in bytes.
func sizes(path string) (length, onDisk int64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, err
	}
	return st.Size, st.Blocks * 512, nil
}

// stampOf gives a file's stamp.
func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}, err
	}
	return stamp{st.Ino, st.Mtim.Nano(), st.Ctim.Nano()}, nil
}

// of tells whether a file still has the stamp.
func (s stamp) of(path string) bool {
	now, err := stampOf(path)
	if s.Changed == 0 {
		now.Changed = 0
	}
	return err == nil && now == s
}

// Draft is where a template's parts are to be written.
type Draft struct {
	Memory  string   // path: made by the VMM, with shared memory
	Scratch string   // path
	State   *os.File // for the VMM to write to
	Process string   // path, to be made if the VMM itself can be kept
}

// make makes the store's directory. What is in there stays its owner's unless it is shared.
func (s *Store) make(shared bool) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil || !shared {
		return err
	}
	return os.Chmod(s.dir, 0o755)
}

// Alone gives the one place in which a template may be made that nobody waits for, or [ErrBusy]. Whoever has
// it closes it in the end.
func (s *Store) Alone() (io.Closer, error) {
	if err := s.make(false); err != nil {
		return nil, err
	}
	return hold(filepath.Join(s.dir, "alone.lock"))
}

// hold makes and locks a file, or gives [ErrBusy].
func hold(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	// The one who held it may have removed it between the open and the lock.
	var held, there unix.Stat_t
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil ||
		unix.Fstat(int(file.Fd()), &held) != nil || unix.Stat(path, &there) != nil || held.Ino != there.Ino {
		return nil, errors.Join(ErrBusy, file.Close())
	}
	return file, nil
}

// ErrBusy says that somebody else is making the same template.
var ErrBusy = errors.New("the template is being made already")

// How says how a template is made.
type How struct {
	Wait   bool // if somebody else is making it already, wait for that one, as long as the context lets it
	Shared bool // other users of the host may start guests from it
}

// Make makes the template of a key: freeze fills the draft in, and the template is there only when all of it
// is on disk. It gives the bytes that the template takes on disk. If somebody else is making it already, and
// it is not to wait for that, it fails with [ErrBusy].
func (s *Store) Make(
	ctx context.Context, key Key, how How, freeze func(context.Context, Draft) error,
) (n int64, err error) {
	if err := s.make(how.Shared); err != nil {
		return 0, err
	}
	gate, err := hold(filepath.Join(s.dir, key.Name()+".making"))
	for how.Wait && errors.Is(err, ErrBusy) {
		select {
		case <-ctx.Done():
			return 0, errors.Join(ErrBusy, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
		gate, err = hold(filepath.Join(s.dir, key.Name()+".making"))
	}
	if err != nil {
		return 0, err
	}
	defer gate.Close()
	defer os.Remove(gate.Name())
	final := filepath.Join(s.dir, key.Name())
	if t := s.Find(key); t != nil {
		if err := t.Close(); err != nil || !t.Stale {
			return usage(final), err
		}
	}
	tmp := final + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return 0, err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return 0, err
	}
	defer os.RemoveAll(tmp)
	d := Draft{
		Memory:  filepath.Join(tmp, memoryFile),
		Scratch: filepath.Join(tmp, scratchFile),
		Process: filepath.Join(tmp, processFile),
	}
	if d.State, err = os.OpenFile(filepath.Join(tmp, stateFile), os.O_RDWR|os.O_CREATE|os.O_EXCL,
		0o600); err != nil {
		return 0, err
	}
	defer d.State.Close()
	if err := freeze(ctx, d); err != nil {
		return 0, err
	}
	if err := seal(tmp, key, d, how.Shared); err != nil {
		return 0, err
	}
	n = usage(tmp)
	if err := os.Rename(tmp, final); errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return n, errors.Join(os.RemoveAll(final), os.Rename(tmp, final))
	}
	return n, err
}

// seal writes down what must be true of a finished draft.
func seal(tmp string, key Key, d Draft, shared bool) (err error) {
	m := meta{Key: key, MadeAt: time.Now().UTC()}
	m.Key.Format = Format
	if err := syncFile(d.Memory); err != nil {
		return err
	}
	if m.MemoryBytes, m.MemoryOnDisk, err = sizes(d.Memory); err != nil {
		return err
	}
	if m.ScratchBytes, _, err = sizes(d.Scratch); err != nil {
		return err
	}
	if _, err := d.State.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if m.StateSHA256, err = digest(d.State); err != nil {
		return err
	}
	// A VMM may run as another user, to whom its files are shown by themselves: nobody else gets past the
	// directories, unless the template is shared. One that cannot open memory for reading alone opens it for
	// writing too, and writes nothing.
	if err := errors.Join(syncFile(d.Scratch), os.Chmod(d.Memory, 0o644)); err != nil {
		return err
	}
	if err := chmod(tmp, d, shared); err != nil {
		return err
	}
	if m.Memory, err = stampOf(d.Memory); err != nil {
		return err
	}
	m.Memory.Changed = 0
	if _, err := os.Lstat(d.Process); err == nil {
		if err := errors.Join(syncFile(d.Process), os.Chmod(d.Process, 0o755)); err != nil {
			return err
		}
		if m.Process, err = stampOf(d.Process); err != nil {
			return err
		}
	}
	if m.Scratch, err = stampOf(d.Scratch); err != nil {
		return err
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(d.State.Sync(), writeAs(filepath.Join(tmp, lockFile), nil, shared),
		writeAs(filepath.Join(tmp, metaFile), append(data, '\n'), shared))
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
