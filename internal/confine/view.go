package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// View builds a root file system for this process, alone in its mount namespace; the first failure stands,
// and nothing is done after it.
type View struct {
	Host string // where the host's root is, until the view is sealed
	err  error
}

// NewView makes a new, empty root, with the host's below it.
func NewView() (*View, error) {
	const staging, old = "/tmp", ".host"
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("cannot make the mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", staging, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV,
		"size=4m,mode=755"); err != nil {
		return nil, fmt.Errorf("cannot mount a new root: %w", err)
	}
	if err := os.Mkdir(filepath.Join(staging, old), 0o755); err != nil {
		return nil, err
	}
	if err := unix.PivotRoot(staging, filepath.Join(staging, old)); err != nil {
		return nil, fmt.Errorf("cannot change the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return nil, err
	}
	return &View{Host: "/" + old}, nil
}

// Seal takes the host's root away, and makes the new one read-only.
func (v *View) Seal() error {
	v.Do(unix.Unmount(v.Host, unix.MNT_DETACH), "unmount the host's files")
	v.Do(os.Remove(v.Host), "remove the mount point of the host's files")
	v.Do(unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV,
		""), "make the root read-only")
	return v.err
}

// Err is the first failure.
func (v *View) Err() error { return v.err }

// Do notes the outcome of a step that has been taken.
func (v *View) Do(err error, what string) {
	if v.err == nil && err != nil {
		v.err = fmt.Errorf("cannot %s: %w", what, err)
	}
}

// Show makes the host's path readable under the same name. What the host lacks is left out, and a symbolic
// link stays one.
func (v *View) Show(path string) {
	info, err := os.Lstat(v.Host + path)
	if v.err != nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return
	}
	if err != nil {
		v.Do(err, "look at "+path)
		return
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(v.Host + path)
		v.Do(err, "read the link "+path)
		v.Do(os.MkdirAll(filepath.Dir(path), 0o755), "make the directory of "+path)
		v.Do(os.Symlink(target, path), "make the link "+path)
		return
	}
	v.Bind(v.Host+path, path, info.IsDir(),
		unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
}

// Bind mounts source at path with more attributes.
func (v *View) Bind(source, path string, dir bool, attr uint64) {
	v.Point(path, dir)
	if v.err != nil {
		return
	}
	v.Do(unix.Mount(source, path, "", unix.MS_BIND|unix.MS_REC, ""), "bind "+path)
	v.Protect(path, attr)
}

// Protect gives a mount more attributes.
func (v *View) Protect(path string, attr uint64) {
	if v.err != nil {
		return
	}
	err := unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr})
	v.Do(err, "protect "+path)
}

// Point makes something to mount on.
func (v *View) Point(path string, dir bool) {
	if v.err != nil {
		return
	}
	if dir {
		v.Do(os.MkdirAll(path, 0o755), "make the directory "+path)
		return
	}
	v.Do(os.MkdirAll(filepath.Dir(path), 0o755), "make the directory of "+path)
	v.File(path, "")
}

// File writes a small file.
func (v *View) File(path, content string) {
	if v.err == nil {
		v.Do(os.WriteFile(path, []byte(content), 0o644), "write "+path)
	}
}
