package template

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Snapshot is a guest as it was at one moment, kept in a directory of its own. What it shares with others
// it holds by hard links, so that each may be deleted at any time without harm to the rest.
type Snapshot struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"`
	Source    string    `json:"source"` // the id of the VM that it is of
	CreatedAt time.Time `json:"created_at"`

	// Memory says that the guest's memory and devices are there, and not its disk alone; if not,
	// WithoutMemory says why.
	Memory        bool   `json:"memory"`
	WithoutMemory string `json:"without_memory,omitempty"`
	// Host says that the host stood in for a guest, and that the disk is an archive of its workspace.
	Host bool `json:"host,omitempty"`
	// VMM is the fingerprint of the VMM that can load the state.
	VMM string `json:"vmm,omitempty"`
	// VM is the record of the VM, as far as it says what another one like it is made of.
	VM json.RawMessage `json:"vm"`

	PauseMS int64 `json:"pause_ms"` // for how long the guest stood still

	// Brief says that it is there for those alone who are being made from it: it is not listed, and goes
	// with the process that made it, or at its Discard.
	Brief bool `json:"brief,omitempty"`

	dir  string
	lock *os.File // of a brief one
}

// Files of a snapshot, and of what a guest is to go on from.
const (
	baseFile     = "base"
	pagesFile    = "pages"
	snapshotFile = "snapshot.json"
)

// snapshotFormat is raised if a snapshot made before would be wrong now.
const snapshotFormat = 1

var (
	snapshotID   = regexp.MustCompile(`^snap-[0-9a-f]{12}$`)
	snapshotName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
)

// What callers may act on, found with errors.Is.
var (
	ErrNoSnapshot = errors.New("no such snapshot")
	ErrNameTaken  = errors.New("there is a snapshot of that name")
	ErrBadName    = errors.New("not a snapshot's name")
)

// Snapshots are those of one state directory.
type Snapshots struct{ dir string }

// OpenSnapshots gives the snapshots of a state directory. Nothing is made until a snapshot is.
func OpenSnapshots(stateDir string) *Snapshots {
	return &Snapshots{filepath.Join(stateDir, "snapshots")}
}

// CheckName refuses what cannot be a snapshot's name: 1 to 63 lower-case letters, digits, dots, dashes and
// underscores that begin with a letter or digit, and do not look like an id.
func CheckName(name string) error {
	likeID := strings.HasPrefix(name, "snap-") || strings.HasPrefix(name, "task-")
	if likeID || !snapshotName.MatchString(name) {
		return fmt.Errorf("%q is %w", name, ErrBadName)
	}
	return nil
}

// Make makes a snapshot: fill puts its parts into a directory, and the snapshot is there only when all of
// them are on disk. It may be interrupted at any moment.
func (s *Snapshots) Make(snap Snapshot, fill func(dir string, snap *Snapshot) error) (_ Snapshot, err error) {
	if snap.Name != "" {
		if err := CheckName(snap.Name); err != nil {
			return Snapshot{}, err
		}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return Snapshot{}, err
	}
	var random [6]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Snapshot{}, err
	}
	snap.Format, snap.ID = snapshotFormat, "snap-"+hex.EncodeToString(random[:])
	snap.CreatedAt = time.Now().UTC().Truncate(time.Millisecond)
	tmp := filepath.Join(s.dir, snap.ID+".tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return Snapshot{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	// Held until the snapshot is whole: what is found with a lock that is free was left by somebody who is
	// gone.
	lock, err := os.OpenFile(filepath.Join(tmp, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return Snapshot{}, err
	}
	defer func() {
		if err != nil || !snap.Brief {
			lock.Close()
		}
	}()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_SH); err != nil {
		return Snapshot{}, err
	}
	if err := fill(tmp, &snap); err != nil {
		return Snapshot{}, err
	}
	if err := writeMeta(filepath.Join(tmp, snapshotFile), snap); err != nil {
		return Snapshot{}, err
	}
	made, err := s.publish(tmp, snap)
	if err == nil && snap.Brief {
		made.lock = lock
	}
	return made, err
}

// Dir is the directory that the snapshot is kept in. It is gone when the snapshot is.
func (s Snapshot) Dir() string { return s.dir }

// Discard removes a brief snapshot. It is for whoever has made it.
func (s Snapshot) Discard() error {
	gone := s.dir + ".gone"
	err := errors.Join(os.Rename(s.dir, gone), os.RemoveAll(gone))
	return errors.Join(err, s.lock.Close())
}

// publish gives a snapshot that is whole its place, if its name is free.
func (s *Snapshots) publish(tmp string, snap Snapshot) (Snapshot, error) {
	gate, err := s.enter()
	if err != nil {
		return Snapshot{}, err
	}
	defer gate.Close()
	if snap.Name != "" {
		if _, err := s.get(snap.Name); err == nil {
			return Snapshot{}, fmt.Errorf("%q: %w", snap.Name, ErrNameTaken)
		}
	}
	snap.dir = filepath.Join(s.dir, snap.ID)
	return snap, errors.Join(os.Rename(tmp, snap.dir), syncFile(s.dir))
}

func writeMeta(path string, meta any) error {
	data, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path, append(data, '\n'), 0o600), syncFile(path))
}

func (s *Snapshots) enter() (*os.File, error) {
	gate, err := os.OpenFile(filepath.Join(s.dir, ".gate"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(gate.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return gate, err
		}
	}
}

// List gives all snapshots, oldest first. What cannot be read is left out, and so is what is brief.
func (s *Snapshots) List() ([]Snapshot, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Snapshot
	for _, e := range entries {
		if !snapshotID.MatchString(e.Name()) {
			continue
		}
		if snap, err := s.load(e.Name()); err == nil && !snap.Brief {
			out = append(out, snap)
		}
	}
	slices.SortFunc(out, func(a, b Snapshot) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

func (s *Snapshots) load(id string) (Snapshot, error) {
	dir := filepath.Join(s.dir, id)
	data, err := os.ReadFile(filepath.Join(dir, snapshotFile))
	if err != nil {
		return Snapshot{}, err
	}
	snap := Snapshot{dir: dir}
	if err := json.Unmarshal(data, &snap); err != nil {
		return Snapshot{}, fmt.Errorf("the snapshot %q is damaged: %w", id, err)
	}
	if snap.Format > snapshotFormat || snap.ID != id {
		return Snapshot{}, fmt.Errorf("the snapshot %q was written by a newer version of pyro", id)
	}
	return snap, nil
}

// Get finds a snapshot by its id or name.
func (s *Snapshots) Get(word string) (Snapshot, error) { return s.get(word) }

func (s *Snapshots) get(word string) (Snapshot, error) {
	if snapshotID.MatchString(word) {
		snap, err := s.load(word)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%q: %w", word, ErrNoSnapshot)
		}
		return snap, err
	}
	all, err := s.List()
	if err != nil {
		return Snapshot{}, err
	}
	for _, snap := range all {
		if word != "" && snap.Name == word {
			return snap, nil
		}
	}
	return Snapshot{}, fmt.Errorf("%q: %w", word, ErrNoSnapshot)
}

// Newest finds the newest snapshot of a VM.
func (s *Snapshots) Newest(source string) (Snapshot, error) {
	all, err := s.List()
	if err != nil {
		return Snapshot{}, err
	}
	for _, snap := range slices.Backward(all) {
		if snap.Source == source {
			return snap, nil
		}
	}
	return Snapshot{}, fmt.Errorf("%w of %q", ErrNoSnapshot, source)
}

// Delete removes a snapshot, and gives the bytes that this freed. Guests that were started from it go on,
// and so do those that are just starting.
func (s *Snapshots) Delete(word string) (Snapshot, int64, error) {
	snap, err := s.get(word)
	if err != nil {
		return snap, 0, err
	}
	freed := snap.Sizes().Own
	gone := snap.dir + ".gone"
	if err := os.Rename(snap.dir, gone); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%q: %w", word, ErrNoSnapshot)
		}
		return snap, 0, err
	}
	return snap, freed, os.RemoveAll(gone)
}

// Sweep removes what interrupted makers and removers left, and names it.
func (s *Snapshots) Sweep() (swept []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, e := range entries {
		dir := filepath.Join(s.dir, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".tmp":
			if held(filepath.Join(dir, lockFile)) {
				continue
			}
		case ".gone":
		default:
			snap, err := s.load(e.Name())
			if err != nil || !snap.Brief || held(filepath.Join(dir, lockFile)) {
				continue
			}
			failed = append(failed, os.Rename(dir, dir+".gone"))
			dir += ".gone"
		}
		failed = append(failed, os.RemoveAll(dir))
		swept = append(swept, e.Name())
	}
	return swept, errors.Join(failed...)
}

// held tells whether somebody holds a lock. A directory without one is so young that its maker has not got
// to it.
func held(path string) bool {
	lock, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		info, err := os.Stat(filepath.Dir(path))
		return err == nil && time.Since(info.ModTime()) < time.Minute
	}
	defer lock.Close()
	return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

// Sizes is what a snapshot takes on disk, in bytes.
type Sizes struct {
	Memory int64 // the guest's own pages and its devices
	Disk   int64 // its writable disk
	Base   int64 // the memory that it rests on, which it may share with a template and with others
	Own    int64 // what would be free without the snapshot: of the files that nobody else holds
}

// Sizes looks at what a snapshot takes.
func (s Snapshot) Sizes() (out Sizes) {
	for name, to := range map[string]*int64{
		pagesFile:   &out.Memory,
		stateFile:   &out.Memory,
		scratchFile: &out.Disk,
		baseFile:    &out.Base,
	} {
		path := filepath.Join(s.dir, name)
		_, n, err := sizes(path)
		if err != nil {
			continue
		}
		*to += n
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Nlink == 1 {
			out.Own += n
		}
	}
	return out
}
