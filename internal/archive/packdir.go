package archive

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// treeWalk packs a directory by names below open directories alone, so that no link, and no swap of a
// directory for a link meanwhile, leads out of it.
type treeWalk struct {
	*packer
	linked map[fileID]string // first names of files that have several
	begun  bool              // the entry at hand is being sent
}

type fileID struct{ dev, ino uint64 }

func (p *packer) directory(f *os.File) error {
	w := &treeWalk{packer: p, linked: map[fileID]string{}}
	return w.below(int(f.Fd()), "")
}

// below packs what is in an open directory; prefix is its path with a slash.
func (w *treeWalk) below(fd int, prefix string) error {
	names, err := w.names(fd)
	if errors.Is(err, ErrLimit) {
		return err
	}
	if err != nil {
		return atEntry(prefix, err)
	}
	for _, name := range names {
		err := w.entry(fd, prefix+name, name)
		if w.mayLeave(err) {
			w.sum.Left.add(prefix+name, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mayLeave tells whether an entry that cannot be carried may stay behind: nothing of it has been sent.
func (w *treeWalk) mayLeave(err error) bool {
	if err == nil || !w.o.Lenient || w.begun {
		return false
	}
	var refused *RefusedError
	return errors.As(err, &refused) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) ||
		errors.Is(err, ErrChanged)
}

// names reads a directory, and no more of it than the limit lets in.
func (w *treeWalk) names(fd int) ([]string, error) {
	var names []string
	for {
		n, err := unix.ReadDirent(fd, w.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			slices.Sort(names)
			return names, err
		}
		_, _, names = unix.ParseDirent(w.buf[:n], -1, names)
		if left := w.limits.MaxEntries - w.sum.Entries - w.implied; int64(len(names)) > left {
			return nil, fmt.Errorf("%w of %d entries", ErrLimit, w.limits.MaxEntries)
		}
	}
}

// atEntry names the entry in an error of the system. What is not there any more, or not what it was, has
// changed.
func atEntry(entry string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("%w: %w", ErrChanged, err)
	}
	return fmt.Errorf("entry %q: %w", entry, err)
}

// entry packs one name of an open directory by a path.
func (w *treeWalk) entry(fd int, path, name string) error {
	w.begun = false
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return atEntry(path, err)
	}
	if w.o.Skip != nil && w.o.Skip(path, st.Mode&unix.S_IFMT == unix.S_IFDIR) {
		return nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.open(fd, path, name, unix.O_DIRECTORY, func(fd int, st *unix.Stat_t) error {
			if _, err := w.put(w.described(directory, path, st)); err != nil {
				return err
			}
			return w.below(fd, path+"/")
		})
	case unix.S_IFREG:
		id := fileID{st.Dev, st.Ino}
		if first, ok := w.linked[id]; ok {
			e := w.described(hardLink, path, &st)
			e.link = first
			_, err := w.put(e)
			return err
		}
		if w.o.Content != nil && !w.o.Content(st.Size, st.Ctim.Nano()) {
			if st.Nlink > 1 {
				w.linked[id] = path
			}
			e := w.described(fileHead, path, &st)
			e.size = st.Size
			_, err := w.put(e)
			return err
		}
		return w.open(fd, path, name, unix.O_NONBLOCK, func(fd int, st *unix.Stat_t) error {
			err := w.file(fd, path, st)
			if err == nil && st.Nlink > 1 {
				w.linked[id] = path
			}
			return err
		})
	case unix.S_IFLNK:
		n, err := unix.Readlinkat(fd, name, w.buf)
		if err != nil {
			return atEntry(path, err)
		}
		e := w.described(symbolicLink, path, &st)
		e.link = string(w.buf[:n])
		_, err = w.put(e)
		return err
	case unix.S_IFIFO:
		return refuse(path, "it is a FIFO")
	case unix.S_IFSOCK:
		return refuse(path, "it is a socket")
	default:
		return refuse(path, "it is a device node")
	}
}

// open opens a name in a directory for as long as use runs, and makes sure that what it opened is still of
// the type that flags ask for.
func (w *treeWalk) open(
	dir int, path, name string, flags int, use func(fd int, st *unix.Stat_t) error,
) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return atEntry(path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return atEntry(path, err)
	}
	want := uint32(unix.S_IFREG)
	if flags == unix.O_DIRECTORY {
		want = unix.S_IFDIR
	}
	if st.Mode&unix.S_IFMT != want {
		return atEntry(path, ErrChanged)
	}
	return use(fd, &st)
}

func (w *treeWalk) described(kind kind, name string, st *unix.Stat_t) *entry {
	e := &entry{
		kind:  kind,
		name:  name,
		mode:  st.Mode & 0o7777,
		mtime: time.Unix(st.Mtim.Unix()),
	}
	if w.o.Owners {
		e.uid, e.gid = st.Uid, st.Gid
	}
	return e
}

// file packs an open file, which must stay as it is meanwhile.
func (w *treeWalk) file(fd int, path string, st *unix.Stat_t) error {
	e := w.described(file, path, st)
	e.size = st.Size
	whole := []extent{{0, st.Size}}
	if st.Blocks*512 < st.Size {
		var err error
		if e.extents, err = dataOf(fd, st.Size); err != nil {
			return atEntry(path, err)
		}
		if e.extents != nil {
			e.kind, whole = sparseFile, e.extents
		}
	}
	if _, err := w.put(e); err != nil {
		return err
	}
	w.begun = true
	for _, x := range whole {
		if err := w.extent(fd, path, x); err != nil {
			return err
		}
	}
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return atEntry(path, err)
	}
	switch {
	case now.Size != st.Size:
		return atEntry(path, fmt.Errorf("%w: it went from %d to %d bytes", ErrChanged, st.Size, now.Size))
	case now.Mtim != st.Mtim:
		return atEntry(path, fmt.Errorf("%w: it was written to", ErrChanged))
	}
	return nil
}

// extent packs a part of an open file.
func (w *treeWalk) extent(fd int, path string, x extent) error {
	for x.length > 0 {
		if err := w.alive(); err != nil {
			return err
		}
		n, err := unix.Pread(fd, w.buf[:min(x.length, int64(len(w.buf)))], x.off)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return atEntry(path, err)
		case n == 0:
			return atEntry(path, fmt.Errorf("%w: it became shorter", ErrChanged))
		}
		if _, err := w.out.Write(w.buf[:n]); err != nil {
			return err
		}
		x.off, x.length = x.off+int64(n), x.length-int64(n)
	}
	return nil
}

// dataOf lists what of a file is no hole, nil if it is not worth it or cannot be told.
func dataOf(fd int, size int64) ([]extent, error) {
	extents := []extent{}
	for at := int64(0); at < size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return extents, nil // A hole up to the end.
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || len(extents) == maxExtents {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		if from >= size {
			break
		}
		extents = append(extents, extent{from, min(to, size) - from})
		at = to
	}
	return extents, nil
}
