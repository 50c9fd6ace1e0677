package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ExtractOptions says where a stream goes and whose the files become.
type ExtractOptions struct {
	Root                 string // an existing directory
	MaxEntries, MaxBytes int64  // as in Limits
	UID, GID             int    // owner of all that is made
	Owners               bool   // who sent it says who owns what, in place of UID and GID
	Links                Links  // the targets that symbolic links may have
	DropSetID            bool   // no file gets the right to run as its owner or group
}

// Extract reads what Pack sent, to its end, into the directory o.Root, and refuses what Pack does: it takes
// no sender's word. Files appear below open directories alone, never through a link, and never in place of
// what a link names; long runs of zeros become holes; the attributes of directories are set last. After an
// error what was made stays.
func Extract(ctx context.Context, r io.Reader, o ExtractOptions) (Summary, error) {
	root, err := unix.Open(o.Root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Summary{}, fmt.Errorf("cannot extract into %q: %w", o.Root, err)
	}
	x := &extractor{
		rules: newRules(Limits{o.MaxEntries, o.MaxBytes}),
		dirs:  openDirs{fds: []int{root}},
		zeros: make([]byte, bufferSize),
		o:     o,
		chown: o.Owners || o.UID != unix.Geteuid() || o.GID != unix.Getegid(),
	}
	x.links = o.Links
	defer x.dirs.close()
	in := bufio.NewReaderSize(x.bounded(r, ctx.Err), bufferSize)
	for err == nil {
		err = x.next(in)
	}
	if errors.Is(err, io.EOF) {
		err = x.finish()
	}
	if err != nil {
		return Summary{}, fmt.Errorf("cannot extract into %q: %w", o.Root, err)
	}
	return x.sum, nil
}

type extractor struct {
	*rules
	dirs  openDirs
	later []attributes
	zeros []byte
	o     ExtractOptions
	chown bool
}

// owner tells who is to own an entry.
func (x *extractor) owner(uid, gid uint32) (int, int) {
	if x.o.Owners {
		return int(uid), int(gid)
	}
	return x.o.UID, x.o.GID
}

// attributes of a directory wait until everything is in it.
type attributes struct {
	path  string
	mode  uint32
	mtime time.Time // zero leaves it as it is

	uid, gid int
}

// next makes the next entry of the stream; io.EOF is the stream's end.
func (x *extractor) next(in *bufio.Reader) error {
	var e entry
	if err := e.read(in); err != nil {
		return err
	}
	carried, err := x.admit(&e)
	if err != nil || !carried {
		return err
	}
	if x.o.DropSetID && e.kind != directory {
		e.mode &^= 0o6000
	}
	if err := x.make(&e, in); err != nil {
		return fmt.Errorf("entry %q: %w", e.name, err)
	}
	return nil
}

func (x *extractor) make(e *entry, content *bufio.Reader) error {
	above, base := split(e.name)
	if e.kind == hardLink {
		return x.hardLink(above, base, e.link)
	}
	dir, err := x.dir(above)
	if err != nil {
		return err
	}
	switch e.kind {
	case directory:
		uid, gid := x.owner(e.uid, e.gid)
		x.later = append(x.later, attributes{e.name, e.mode, e.mtime, uid, gid})
		return x.mkdir(dir, base)
	case symbolicLink:
		return x.symlink(dir, base, e)
	default:
		return x.file(dir, base, e, content)
	}
}

func split(path string) (above, base string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// dir opens a directory of the tree, with those above it that have no entry of their own.
func (x *extractor) dir(path string) (int, error) {
	return x.dirs.open(path, func(dir int, base, path string) error {
		uid, gid := x.owner(0, 0)
		x.later = append(x.later, attributes{
			path: path,
			mode: 0o755,
			uid:  uid,
			gid:  gid,
		})
		return x.mkdir(dir, base)
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

func (x *extractor) mkdir(dir int, base string) error {
	var st unix.Stat_t
	err := unix.Mkdirat(dir, base, 0o700)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil &&
		st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil
	}
	return replacing(dir, base, func() error { return unix.Mkdirat(dir, base, 0o700) })
}

func (x *extractor) symlink(dir int, base string, e *entry) error {
	err := replacing(dir, base, func() error { return unix.Symlinkat(e.link, dir, base) })
	if err == nil && x.chown {
		uid, gid := x.owner(e.uid, e.gid)
		err = unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return err
	}
	return setTime(dir, base, e.mtime)
}

func (x *extractor) hardLink(above, base, target string) error {
	targetAbove, targetBase := split(target)
	from, err := x.dir(targetAbove)
	if err == nil && targetAbove != above {
		// The directories that are open are those above one entry: this one stays open beside them.
		from, err = unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 0)
		defer unix.Close(from)
	}
	if err != nil {
		return err
	}
	dir, err := x.dir(above)
	if err != nil {
		return err
	}
	return replacing(dir, base, func() error { return unix.Linkat(from, targetBase, dir, base, 0) })
}

func (x *extractor) file(dir int, base string, e *entry, content *bufio.Reader) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	var fd int
	err := replacing(dir, base, func() (err error) {
		fd, err = rawOpenat(dir, base, flags, e.mode&0o777|0o600)
		return err
	})
	if err != nil {
		return err
	}
	if e.kind == sparseFile {
		err = x.parts(fd, content, e)
	} else {
		err = x.content(fd, content, e.size)
	}
	if err == nil && x.chown {
		uid, gid := x.owner(e.uid, e.gid)
		err = unix.Fchown(fd, uid, gid)
	}
	var st unix.Stat_t
	if err == nil {
		err = rawFstat(fd, &st)
	}
	if err == nil && st.Mode&0o7777 != e.mode {
		err = unix.Fchmod(fd, e.mode) // after the owner, whose change clears set-uid
	}
	if err == nil {
		times := timespecs(e.mtime)
		err = rawFutimes(fd, &times)
	}
	return errors.Join(err, rawClose(fd))
}

// content writes size bytes, leaving out whole buffers of zeros.
func (x *extractor) content(fd int, r *bufio.Reader, size int64) error {
	hole := false
	for at := int64(0); at < size; {
		part, err := r.Peek(int(min(size-at, bufferSize)))
		if err != nil {
			return cut(err)
		}
		if hole = len(part) == bufferSize && bytes.Equal(part, x.zeros); !hole {
			if err := write(fd, part, at); err != nil {
				return err
			}
		}
		at += int64(len(part))
		if _, err := r.Discard(len(part)); err != nil {
			return err
		}
	}
	if hole {
		return unix.Ftruncate(fd, size)
	}
	return nil
}

// parts writes what is not a hole of a sparse file.
func (x *extractor) parts(fd int, r *bufio.Reader, e *entry) error {
	for _, part := range e.extents {
		for at, end := part.off, part.off+part.length; at < end; {
			b, err := r.Peek(int(min(end-at, bufferSize)))
			if err != nil {
				return cut(err)
			}
			if err := write(fd, b, at); err != nil {
				return err
			}
			at += int64(len(b))
			if _, err := r.Discard(len(b)); err != nil {
				return err
			}
		}
	}
	return unix.Ftruncate(fd, e.size)
}

func write(fd int, p []byte, at int64) error {
	for len(p) > 0 {
		n, err := rawPwrite(fd, p, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p, at = p[n:], at+int64(n)
	}
	return nil
}

// setTime gives a name in a directory, not what a link there leads to, its time of change.
func setTime(dir int, base string, mtime time.Time) error {
	times := timespecs(mtime)
	return unix.UtimesNanoAt(dir, base, times[:], unix.AT_SYMLINK_NOFOLLOW)
}

// timespecs are the times of access and of change, both the same.
func timespecs(t time.Time) [2]unix.Timespec {
	ts := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	return [2]unix.Timespec{ts, ts}
}

// finish sets the attributes of the directories, what is below a directory before it: it may close itself to
// us. A later entry of a directory holds over an earlier one.
func (x *extractor) finish() error {
	slices.SortStableFunc(x.later, func(a, b attributes) int { return strings.Compare(b.path, a.path) })
	for i, a := range x.later {
		if i+1 < len(x.later) && x.later[i+1].path == a.path {
			continue
		}
		if err := x.setAttributes(a); err != nil {
			return fmt.Errorf("directory %q: %w", a.path, err)
		}
	}
	return nil
}

func (x *extractor) setAttributes(a attributes) error {
	fd, err := x.dir(a.path)
	if err == nil && x.chown {
		err = unix.Fchown(fd, a.uid, a.gid)
	}
	if err == nil && !a.mtime.IsZero() {
		err = setTime(fd, ".", a.mtime)
	}
	if err == nil {
		err = unix.Fchmod(fd, a.mode)
	}
	return err
}
