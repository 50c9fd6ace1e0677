package agent

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// extent is a part of a file, in bytes.
type extent struct{ at, length int64 }

// sparse tells whether these parts leave some of a file out.
func sparse(data []extent, size int64) bool {
	return len(data) != 1 || data[0].length != size
}

// setSparse says in a file's header that these parts of it follow, and nothing else.
func setSparse(h *tar.Header, data []extent, size int64) {
	var list strings.Builder
	h.Size = 0
	for _, e := range data {
		fmt.Fprintf(&list, "%d %d ", e.at, e.length)
		h.Size += e.length
	}
	if h.PAXRecords == nil {
		h.PAXRecords = map[string]string{}
	}
	h.PAXRecords[sparseSize] = strconv.FormatInt(size, 10)
	h.PAXRecords[sparseData] = list.String() + "."
}

// dataOf gives the parts of a file that follow its header, and its size.
func dataOf(h *tar.Header) (data []extent, size int64, err error) {
	text := h.PAXRecords[sparseSize]
	if text == "" {
		return []extent{{0, h.Size}}, h.Size, nil
	}
	size, err = strconv.ParseInt(text, 10, 64)
	words := strings.Fields(strings.TrimSuffix(h.PAXRecords[sparseData], "."))
	for i := 0; err == nil && i+1 < len(words); i += 2 {
		var e extent
		if e.at, err = strconv.ParseInt(words[i], 10, 64); err == nil {
			e.length, err = strconv.ParseInt(words[i+1], 10, 64)
		}
		data = append(data, e)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("the parts of the file %q cannot be read: %w", h.Name, err)
	}
	return data, size, nil
}

// restore writes what [keeper.save] sent, as the host has kept it: parts, each behind its length. A part
// that was not finished has none, and is the last.
func restore(root *os.Root, from io.Reader) error {
	r := &restorer{
		places: places{root: root},
		dirs:   map[string]*tar.Header{},
		buffer: make([]byte, sparseBlock),
	}
	defer r.forget()
	for {
		length, err := link.PartLength(from)
		if errors.Is(err, io.EOF) || err == nil && length == 0 {
			return r.finish()
		}
		if err != nil {
			return err
		}
		part := io.LimitReader(from, length)
		err = r.part(tar.NewReader(part))
		if err == nil {
			_, err = io.Copy(io.Discard, part) // what stands behind the last entry
		}
		if err != nil {
			return fmt.Errorf("cannot bring back the guest's files: %w", err)
		}
	}
}

type restorer struct {
	places
	dirs   map[string]*tar.Header // whose times are set at the end
	buffer []byte
}

func (r *restorer) part(in *tar.Reader) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = r.entry(strings.TrimSuffix(h.Name, "/"), h, in)
		}
		if err != nil {
			return err
		}
	}
}

func (r *restorer) entry(name string, h *tar.Header, content io.Reader) error {
	dir, base, err := r.at(name)
	if err != nil && h.PAXRecords[gone] != "" &&
		(errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)) {
		return nil // It went with its directory.
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	there := err == nil
	if there && (h.Typeflag != tar.TypeDir || st.Mode&unix.S_IFMT != unix.S_IFDIR) {
		if err := r.remove(name, &st); err != nil {
			return err
		}
		if dir, base, err = r.at(name); err != nil {
			return err
		}
		there = false
	}
	if h.PAXRecords[gone] != "" {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return r.file(dir, base, h, content)
	case tar.TypeLink:
		return r.root.Link(h.Linkname, name)
	case tar.TypeDir:
		r.dirs[name] = h
		if err = nil; !there {
			err = unix.Mkdirat(dir, base, 0o700)
		}
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, dir, base)
	default:
		err = node(dir, base, h)
	}
	if err != nil {
		return err
	}
	return attributes(dir, base, h)
}

// remove makes room for an entry.
func (r *restorer) remove(name string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		dir, base, err := r.at(name)
		if err != nil {
			return err
		}
		return unix.Unlinkat(dir, base, 0)
	}
	r.forget()
	delete(r.dirs, name)
	return r.root.RemoveAll(name)
}

func (r *restorer) file(dir int, base string, h *tar.Header, content io.Reader) error {
	data, size, err := dataOf(h)
	if err != nil {
		return err
	}
	const how = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, base, how, 0o600)
	if err != nil {
		return err
	}
	err = r.fill(fd, content, data)
	if err == nil && sparse(data, size) {
		err = unix.Ftruncate(fd, size)
	}
	if err == nil { // The owner first: that takes bits from the mode.
		err = unix.Fchown(fd, h.Uid, h.Gid)
	}
	for key, value := range h.PAXRecords {
		if key, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && err == nil {
			err = unix.Fsetxattr(fd, key, []byte(value), 0)
		}
	}
	if err == nil {
		err = unix.Fchmod(fd, uint32(h.Mode&0o7777))
	}
	if err = errors.Join(err, unix.Close(fd)); err == nil {
		err = unix.UtimesNanoAt(dir, base, times(h), unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}

// fill writes the parts of a file.
func (r *restorer) fill(fd int, content io.Reader, data []extent) error {
	for _, e := range data {
		for e.length > 0 {
			part := r.buffer[:min(int64(len(r.buffer)), e.length)]
			n, err := io.ReadFull(content, part)
			if err != nil {
				return err
			}
			for from := 0; from < n; {
				written, err := unix.Pwrite(fd, part[from:n], e.at+int64(from))
				if err != nil {
					return err
				}
				from += written
			}
			e = extent{e.at + int64(n), e.length - int64(n)}
		}
	}
	return nil
}

// times leaves the time of the last access alone.
func times(h *tar.Header) []unix.Timespec {
	return []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(h.ModTime.UnixNano())}
}

// node makes a device, which may be one that hides a file of the image's, or a FIFO.
func node(dir int, base string, h *tar.Header) error {
	var kind uint32
	switch h.Typeflag {
	case tar.TypeChar:
		kind = unix.S_IFCHR
	case tar.TypeBlock:
		kind = unix.S_IFBLK
	case tar.TypeFifo:
		kind = unix.S_IFIFO
	default:
		return fmt.Errorf("an entry of the type %q is none that was sent", h.Typeflag)
	}
	device := unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	return unix.Mknodat(dir, base, kind|uint32(h.Mode&0o777), int(device))
}

// attributes sets the owner first: that takes bits from the mode.
func attributes(dir int, base string, h *tar.Header) error {
	if err := unix.Fchownat(dir, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	for key, value := range h.PAXRecords {
		if key, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			full := fmt.Sprintf("/proc/self/fd/%d/%s", dir, base)
			if err := unix.Lsetxattr(full, key, []byte(value), 0); err != nil {
				return err
			}
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(dir, base, uint32(h.Mode&0o7777), 0); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(dir, base, times(h), unix.AT_SYMLINK_NOFOLLOW)
}

// finish sets the times of directories, which what is made in them changes.
func (r *restorer) finish() error {
	for name, h := range r.dirs {
		err := r.root.Chtimes(name, time.Time{}, h.ModTime)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
