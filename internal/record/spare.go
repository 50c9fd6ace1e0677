package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A spare is a VM that was started ahead, for a run of its shape that any process may ask for. While it
// waits, its directory has a file with its shape; who takes that file away has the VM.
const (
	spareFile   = "spare"
	claimedFile = "claimed"
	maxShape    = 128
)

// ErrSpare says that no other spare is wanted.
var ErrSpare = errors.New("a spare of this shape waits already, or as many as may")

// CreateSpare makes the directory of a spare, as Create does, unless one of its shape waits already, or limit
// of any shape do.
func (r Root) CreateSpare(shape string, limit int) (id string, lock *os.File, err error) {
	if err := os.MkdirAll(r.path, 0o700); err != nil {
		return "", nil, err
	}
	gate, err := r.enter()
	if err != nil {
		return "", nil, err
	}
	defer gate.Close()
	waiting, err := r.spares()
	if err != nil {
		return "", nil, err
	}
	for _, its := range waiting {
		if its == shape {
			return "", nil, ErrSpare
		}
	}
	if len(waiting) >= limit {
		return "", nil, ErrSpare
	}
	if id, lock, err = r.make(KindPool); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(filepath.Join(r.Path(id), spareFile), []byte(shape), 0o600); err != nil {
		return "", nil, errors.Join(err, r.Remove(id), lock.Close())
	}
	return id, lock, nil
}

// ClaimSpare takes a spare of a shape, if one waits, unless limit live VMs exist that counted says count, of
// which it is one from then on. Its supervisor is to be told.
func (r Root) ClaimSpare(shape string, limit int, counted func(id string) bool) (id string, err error) {
	if waiting, err := r.spares(); err != nil || len(waiting) == 0 {
		return "", err // Most often: it takes no gate to see.
	}
	gate, err := r.enter()
	if err != nil {
		return "", err
	}
	defer gate.Close()
	waiting, err := r.spares()
	if err != nil {
		return "", err
	}
	for id, its := range waiting {
		if its != shape {
			continue
		}
		if err := r.room(limit, counted, ""); err != nil {
			return "", err
		}
		dir := r.Path(id)
		return id, os.Rename(filepath.Join(dir, spareFile), filepath.Join(dir, claimedFile))
	}
	return "", nil
}

// IsSpare tells whether a VM waits for a run.
func (r Root) IsSpare(id string) bool { return r.has(id, spareFile) }

// WasSpare tells whether a VM waited for a run, and has one now.
func (r Root) WasSpare(id string) bool { return r.has(id, claimedFile) }

func (r Root) has(id, file string) bool {
	_, err := os.Lstat(filepath.Join(r.Path(id), file))
	return err == nil
}

// spares gives the shapes of the spares that wait, by their ids.
func (r Root) spares() (map[string]string, error) {
	ids, err := r.IDs()
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, id := range ids {
		if len(id) < len(KindPool) || Kind(id[:len(KindPool)]) != KindPool {
			continue
		}
		shape, err := os.ReadFile(filepath.Join(r.Path(id), spareFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(shape) <= maxShape && !r.Gone(id) {
			out[id] = string(shape)
		}
	}
	return out, nil
}
