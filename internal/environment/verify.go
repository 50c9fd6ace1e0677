package environment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// DamagedError says that a file of the store is not what it was made as.
type DamagedError struct {
	Path string // of the file
	What string // it is: "image", "kernel", "module", "initramfs"
	Why  string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the %s %q is damaged: %s", e.What, e.Path, e.Why)
}

// sound compares a file with its digest. A file that is missing is damaged as well.
func sound(ctx context.Context, what, path, digest string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	got, _, err := digestFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &DamagedError{path, what, "it is missing"}
	case errors.Is(err, unix.EIO):
		return &DamagedError{path, what, "the disk cannot read it"}
	case err != nil:
		return err
	case got != digest:
		return &DamagedError{path, what, fmt.Sprintf("its SHA-256 is %s, not %s", got, digest)}
	}
	return nil
}

// Verify reads all that an installed environment boots from, and compares it with what was installed. A
// [*DamagedError] is in the chain of what it finds.
func (s *Store) Verify(ctx context.Context, name string) error {
	m, err := s.Get(name)
	if err != nil {
		return err
	}
	return s.VerifyFiles(ctx, m.Image, m.Kernel)
}

// VerifyFiles is Verify for an image and a kernel that a VM boots from.
func (s *Store) VerifyFiles(ctx context.Context, f File, k Kernel) error {
	return errors.Join(sound(ctx, "image", f.Path, f.SHA256), verifyKernel(ctx, k), s.verifyInitrds(ctx, k))
}

func verifyKernel(ctx context.Context, k Kernel) error {
	err := sound(ctx, "kernel", k.Path, k.SHA256)
	kept, keptErr := loadKept(filepath.Dir(k.Path))
	if keptErr != nil {
		why := "its description cannot be read"
		return errors.Join(err, &DamagedError{filepath.Dir(k.Path), "kernel", why})
	}
	for name, digest := range kept.ModuleSHA256 {
		err = errors.Join(err, sound(ctx, "module", filepath.Join(k.ModulesDir, name+moduleSuffix), digest))
	}
	return err
}

// verifyInitrds judges the initramfs that were made for a kernel, and removes those that are damaged: the
// next start makes them again.
func (s *Store) verifyInitrds(ctx context.Context, k Kernel) error {
	made, err := filepath.Glob(s.path("initrds", "*"))
	if err != nil {
		return err
	}
	var failed []error
	for _, path := range made {
		key, _, _ := strings.Cut(filepath.Base(path), initrdSeparator)
		if key != filepath.Base(filepath.Dir(k.Path)) || strings.HasSuffix(path, digestSuffix) {
			continue
		}
		digest, err := readSmall(path+digestSuffix, 128)
		switch {
		case err == nil:
			err = sound(ctx, "initramfs", path, strings.TrimSpace(string(digest)))
		case errors.Is(err, fs.ErrNotExist): // An older pyro made it: it is made again.
			err = drop(path)
		}
		var damaged *DamagedError
		if errors.As(err, &damaged) {
			err = errors.Join(err, drop(path), drop(path+digestSuffix))
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// drop removes a file of the store, unless the store is somebody else's.
func drop(path string) error {
	if err := remove(path); !notOurs(err) {
		return err
	}
	return nil
}

// damaged tells whether an installed environment has to be made again, and removes what can be made
// without a pull.
func (s *Store) damaged(ctx context.Context, m Manifest) (bool, error) {
	initrds := s.verifyInitrds(ctx, m.Kernel)
	err := errors.Join(sound(ctx, "image", m.Image.Path, m.Image.SHA256), verifyKernel(ctx, m.Kernel))
	var damaged *DamagedError
	switch {
	case errors.As(err, &damaged):
		return true, nil
	case errors.As(initrds, &damaged):
		return false, err
	}
	return false, errors.Join(err, initrds)
}

// readSmall reads a file of the store that is to be small, without waiting for what is no file.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q is not a regular file", path)
	case info.Size() > limit:
		return nil, fmt.Errorf("%q has more than the %d bytes allowed", path, limit)
	}
	data := make([]byte, info.Size())
	n, err := f.ReadAt(data, 0)
	if n == len(data) {
		err = nil
	}
	return slices.Clip(data[:n]), err
}

// NoSpace says of an error about a full disk that it is one, in words.
func NoSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &fullError{err}
	}
	return err
}

// fullError is the error of a full disk.
type fullError struct{ error }

func (e *fullError) Error() string { return "the host's disk is full: " + e.error.Error() }
func (e *fullError) Unwrap() error { return e.error }

// Hint says what to do about it.
func (e *fullError) Hint() string {
	return "free some room, with pyro env prune for one, or keep environments elsewhere with PYRO_CACHE_DIR"
}
