package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ExtractOptions says where a stream goes and whose the files become.
type ExtractOptions struct {
	Root                 string // an existing directory
	MaxEntries, MaxBytes int64  // as in Limits
	UID, GID             int    // owner of all that is made
}

// Extract reads a tar, to its end, into the directory o.Root, and refuses what Pack does: it takes no sender's word.
// Files appear below open directories alone, never through a link, and never in place of what a link names; long runs
// of zeros become holes; the attributes of directories are set last. After an error what was made stays.
func Extract(ctx context.Context, r io.Reader, o ExtractOptions) (Summary, error) {
	root, err := unix.Open(o.Root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Summary{}, fmt.Errorf("cannot extract into %q: %w", o.Root, err)
	}
	e := &extractor{
		rules: newRules(Limits{o.MaxEntries, o.MaxBytes}),
		dirs:  openDirs{fds: []int{root}},
		buf:   make([]byte, bufferSize), zeros: make([]byte, bufferSize),
		uid: o.UID, gid: o.GID, chown: o.UID != unix.Geteuid() || o.GID != unix.Getegid(),
	}
	defer e.dirs.close()
	err = readTar(e.bounded(r, ctx.Err), e.buf, e.entry)
	if err == nil {
		err = e.finish()
	}
	if err != nil {
		return Summary{}, fmt.Errorf("cannot extract into %q: %w", o.Root, err)
	}
	return e.sum, nil
}

type extractor struct {
	*rules
	dirs       openDirs
	later      []attributes
	buf, zeros []byte
	uid, gid   int
	chown      bool
}

// attributes of a directory wait until everything is in it.
type attributes struct {
	path  string
	mode  uint32
	mtime time.Time // zero leaves it as it is
}

func (e *extractor) entry(tr *tar.Reader, h *tar.Header) error {
	name, target, err := e.admit(h)
	if err != nil || name == "" {
		return err
	}
	above, base := split(name)
	if h.Typeflag == tar.TypeLink {
		err = e.hardLink(above, base, target)
	} else if dir, openErr := e.dir(above); openErr != nil {
		err = openErr
	} else {
		switch h.Typeflag {
		case tar.TypeDir:
			err = e.mkdir(dir, base)
			e.later = append(e.later, attributes{name, uint32(h.Mode & 0o7777), h.ModTime})
		case tar.TypeSymlink:
			err = e.symlink(dir, base, h)
		default:
			err = e.file(dir, base, tr, h)
		}
	}
	if err != nil {
		return fmt.Errorf("entry %q: %w", name, err)
	}
	return nil
}

func split(path string) (above, base string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// dir opens a directory of the tree, with those above it that have no entry of their own.
func (e *extractor) dir(path string) (int, error) {
	return e.dirs.open(path, func(dir int, base, path string) error {
		e.later = append(e.later, attributes{path: path, mode: 0o755})
		return e.mkdir(dir, base)
	})
}

// replacing calls f, and calls it again without what stood in its way.
func replacing(dir int, base string, f func() error) error {
	err := f()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := unix.Unlinkat(dir, base, 0); err != nil {
		return err
	}
	return f()
}

func (e *extractor) mkdir(dir int, base string) error {
	var st unix.Stat_t
	err := unix.Mkdirat(dir, base, 0o700)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil
	}
	return replacing(dir, base, func() error { return unix.Mkdirat(dir, base, 0o700) })
}

func (e *extractor) symlink(dir int, base string, h *tar.Header) error {
	err := replacing(dir, base, func() error { return unix.Symlinkat(h.Linkname, dir, base) })
	if err == nil && e.chown {
		err = unix.Fchownat(dir, base, e.uid, e.gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return err
	}
	return setTime(dir, base, h.ModTime)
}

func (e *extractor) hardLink(above, base, target string) error {
	targetAbove, targetBase := split(target)
	from, err := e.dir(targetAbove)
	if err == nil && targetAbove != above {
		// The directories that are open are those above one entry: this one stays open beside them.
		from, err = unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 0)
		defer unix.Close(from)
	}
	if err != nil {
		return err
	}
	dir, err := e.dir(above)
	if err != nil {
		return err
	}
	return replacing(dir, base, func() error { return unix.Linkat(from, targetBase, dir, base, 0) })
}

func (e *extractor) file(dir int, base string, content io.Reader, h *tar.Header) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	mode := uint32(h.Mode & 0o7777)
	var fd int
	err := replacing(dir, base, func() (err error) {
		fd, err = unix.Openat(dir, base, flags, mode&0o777|0o600)
		return err
	})
	if err != nil {
		return err
	}
	err = e.content(fd, content, h.Size)
	if err == nil && e.chown {
		err = unix.Fchown(fd, e.uid, e.gid)
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && st.Mode&0o7777 != mode {
		err = unix.Fchmod(fd, mode) // after the owner, whose change clears set-uid
	}
	if err == nil {
		err = setFileTime(fd, h.ModTime)
	}
	return errors.Join(err, unix.Close(fd))
}

// content writes size bytes, leaving out whole buffers of zeros.
func (e *extractor) content(fd int, r io.Reader, size int64) error {
	hole := false
	for at := int64(0); at < size; {
		part := e.buf[:min(size-at, int64(len(e.buf)))]
		if _, err := io.ReadFull(r, part); err != nil {
			return err
		}
		hole = len(part) == len(e.zeros) && bytes.Equal(part, e.zeros)
		for p := part; !hole && len(p) > 0; {
			n, err := unix.Pwrite(fd, p, at+int64(len(part)-len(p)))
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			p = p[max(n, 0):]
		}
		at += int64(len(part))
	}
	if hole {
		return unix.Ftruncate(fd, size)
	}
	return nil
}

// setTime gives a name in a directory, not what a link there leads to, its time of change.
func setTime(dir int, base string, mtime time.Time) error {
	ts := timespecs(mtime)
	return unix.UtimesNanoAt(dir, base, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}

// setFileTime is setTime for an open file, which need not be looked up again: utimensat(2) without a name.
func setFileTime(fd int, mtime time.Time) error {
	ts := timespecs(mtime)
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// timespecs are the times of access and of change, both the same.
func timespecs(t time.Time) [2]unix.Timespec {
	ts := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	return [2]unix.Timespec{ts, ts}
}

// finish sets the attributes of the directories, what is below a directory before it: it may close itself to us. A
// later entry of a directory holds over an earlier one.
func (e *extractor) finish() error {
	slices.SortStableFunc(e.later, func(a, b attributes) int { return strings.Compare(b.path, a.path) })
	for i, a := range e.later {
		if i+1 < len(e.later) && e.later[i+1].path == a.path {
			continue
		}
		if err := e.setAttributes(a); err != nil {
			return fmt.Errorf("directory %q: %w", a.path, err)
		}
	}
	return nil
}

func (e *extractor) setAttributes(a attributes) error {
	fd, err := e.dir(a.path)
	if err == nil && e.chown {
		err = unix.Fchown(fd, e.uid, e.gid)
	}
	if err == nil && !a.mtime.IsZero() {
		err = setTime(fd, ".", a.mtime)
	}
	if err == nil {
		err = unix.Fchmod(fd, a.mode)
	}
	return err
}
