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
		if err := w.entry(fd, prefix, name); err != nil {
			return err
		}
	}
	return nil
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

func (w *treeWalk) entry(fd int, prefix, name string) error {
	path := prefix + name
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return atEntry(path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.open(fd, path, name, unix.O_DIRECTORY, func(fd int, st *unix.Stat_t) error {
			if _, err := w.put(described(directory, path, st)); err != nil {
				return err
			}
			return w.below(fd, path+"/")
		})
	case unix.S_IFREG:
		id := fileID{st.Dev, st.Ino}
		if first, ok := w.linked[id]; ok {
			e := described(hardLink, path, &st)
			e.link = first
			_, err := w.put(e)
			return err
		}
		if st.Nlink > 1 {
			w.linked[id] = path
		}
		return w.open(fd, path, name, unix.O_NONBLOCK, func(fd int, st *unix.Stat_t) error {
			return w.file(fd, path, st)
		})
	case unix.S_IFLNK:
		n, err := unix.Readlinkat(fd, name, w.buf)
		if err != nil {
			return atEntry(path, err)
		}
		e := described(symbolicLink, path, &st)
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

func described(kind kind, name string, st *unix.Stat_t) *entry {
	return &entry{
		kind:  kind,
		name:  name,
		mode:  st.Mode & 0o7777,
		mtime: time.Unix(st.Mtim.Unix()),
	}
}

// file packs an open file, which must stay as it is meanwhile.
func (w *treeWalk) file(fd int, path string, st *unix.Stat_t) error {
	e := described(file, path, st)
	e.size = st.Size
	if _, err := w.put(e); err != nil {
		return err
	}
	for left := st.Size; left > 0; {
		if err := w.alive(); err != nil {
			return err
		}
		n, err := unix.Read(fd, w.buf[:min(left, int64(len(w.buf)))])
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
		left -= int64(n)
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
