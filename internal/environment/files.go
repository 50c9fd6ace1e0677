package environment

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile writes a file whole or not at all: to a temporary name beside it, synced, renamed. Directories
// above it are made.
func WriteFile(path string, data []byte) error { return writeMode(path, data, 0o644) }

func writeMode(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode))
	return commit(f, path, err)
}

// commit ends the writing of f, which becomes path unless err or something of its own is in the way.
func commit(f *os.File, path string, err error) error {
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// commitDir renames a finished directory, whose files are synced, to its final name. One that is there
// already has the same content, as its name says, and stays; its file named keep, which may have been
// damaged since, is replaced.
func commitDir(from, to, keep string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	err := errors.Join(syncDir(from), os.Rename(from, to))
	if err == nil {
		return syncDir(filepath.Dir(to))
	}
	if info, there := os.Lstat(to); there != nil || !info.IsDir() {
		return err
	}
	if err := os.Rename(filepath.Join(from, keep), filepath.Join(to, keep)); err != nil {
		return err
	}
	return syncDir(to)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// remove deletes a file that may be gone already.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// digestFile returns the SHA-256 of a file, in hexadecimal, and its size.
func digestFile(path string) (digest string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// diskUsage returns what a file, or all below a directory, takes on disk. What vanishes meanwhile takes
// nothing.
func diskUsage(path string) int64 {
	var sum int64
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			sum += blocks(info)
		}
		return nil
	})
	return sum
}
