package template

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Discard removes a template that does not come up, whoever else is starting from it: what they have mapped
// they keep, and who has not opened it yet finds none. The template is to be closed all the same.
func (t *Template) Discard() error { return drop(t.dir) }

// replace gives a finished draft its name. A template that has it goes, as soon as nobody is starting from
// it: who is would find the one's memory with the other's state.
func replace(ctx context.Context, draft, dir string) error {
	lock, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		return errors.Join(os.RemoveAll(dir), os.Rename(draft, dir)) // There is none, or half of one.
	}
	defer lock.Close()
	for unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	gone := dir + ".gone"
	err = errors.Join(os.RemoveAll(gone), os.Rename(dir, gone), os.Rename(draft, dir))
	return errors.Join(err, os.RemoveAll(gone))
}

// Forget gives up a template's checkpoint that does not come up; the template is as good without.
func (t *Template) Forget() error {
	m, err := readMeta(t.dir)
	if err != nil {
		return err
	}
	m.Process = stamp{}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(t.dir, metaFile)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	next := path + ".next"
	if err := writeAs(next, append(data, '\n'), info.Mode().Perm() != 0o600); err != nil {
		return err
	}
	return errors.Join(os.Rename(next, path), os.Remove(filepath.Join(t.dir, processFile)))
}

// drop deletes a template's directory, under another name first, so that nobody finds it half deleted.
func drop(dir string) error {
	gone := dir + ".gone"
	err := errors.Join(os.RemoveAll(gone), os.Rename(dir, gone))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Somebody else was quicker.
	}
	return errors.Join(err, os.RemoveAll(gone))
}

// remove deletes a template that nobody is starting from, unless it is a dry run, and gives what that frees.
// Running clones keep what they have mapped.
func remove(dir string, dry bool) (freed int64, err error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err == nil {
		defer lock.Close()
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			return 0, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	freed = usage(dir)
	if dry {
		return freed, nil
	}
	return freed, drop(dir)
}

func usage(dir string) (n int64) {
	for _, name := range []string{memoryFile, stateFile, scratchFile, processFile} {
		if _, onDisk, err := sizes(filepath.Join(dir, name)); err == nil {
			n += onDisk
		}
	}
	return n
}

// DefaultLimit is how much disk templates may take together, in bytes, before the least recently used go.
const DefaultLimit = 4 << 30

// Removed is a template that a prune removed.
type Removed struct {
	Name  string
	Freed int64
}

// Prune removes templates for which keep is false, then the least recently used until the rest takes at most
// limit bytes, and what interrupted makers left.
func (s *Store) Prune(keep func(Key) bool, limit int64) ([]Removed, error) {
	return s.prune(keep, limit, false)
}

// WouldPrune gives what Prune would remove, and removes nothing.
func (s *Store) WouldPrune(keep func(Key) bool, limit int64) ([]Removed, error) {
	return s.prune(keep, limit, true)
}

func (s *Store) prune(keep func(Key) bool, limit int64, dry bool) ([]Removed, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Removed
	var failed []error
	discard := func(dir string) {
		freed, err := remove(dir, dry)
		failed = append(failed, err)
		if freed > 0 {
			out = append(out, Removed{filepath.Base(dir), freed})
		}
	}
	type kept struct {
		dir  string
		used time.Time
		size int64
	}
	var rest []kept
	for _, e := range entries {
		dir := filepath.Join(s.dir, e.Name())
		switch {
		case !e.IsDir(), dry && draft(e.Name()):
		case strings.HasSuffix(e.Name(), ".gone"):
			failed = append(failed, os.RemoveAll(dir))
		case strings.HasSuffix(e.Name(), ".tmp"):
			failed = append(failed, s.dropDraft(dir))
		default:
			key, used, err := describe(dir)
			if err != nil || !keep(key) {
				discard(dir)
				continue
			}
			rest = append(rest, kept{dir, used, usage(dir)})
		}
	}
	slices.SortFunc(rest, func(a, b kept) int { return cmp.Compare(b.used.UnixNano(), a.used.UnixNano()) })
	var total int64
	for _, k := range rest {
		if total += k.size; total > limit {
			discard(k.dir)
		}
	}
	return out, errors.Join(failed...)
}

// draft tells whether a directory is what a maker or a remover was interrupted at.
func draft(name string) bool {
	return strings.HasSuffix(name, ".gone") || strings.HasSuffix(name, ".tmp")
}

// dropDraft removes a draft whose maker is gone.
func (s *Store) dropDraft(dir string) error {
	gate, err := os.OpenFile(strings.TrimSuffix(dir, ".tmp")+".making", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer gate.Close()
	if unix.Flock(int(gate.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil
	}
	return errors.Join(os.RemoveAll(dir), os.Remove(gate.Name()))
}

func describe(dir string) (Key, time.Time, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return Key{}, time.Time{}, err
	}
	m, err := readMeta(dir)
	return m.Key, info.ModTime(), err
}
