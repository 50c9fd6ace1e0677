package agent

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Records of a file that has long stretches of nothing but zeros: its size, and where its content lies, as
// offsets and lengths.
const (
	sparseSize = "PYRO.size"
	sparseData = "PYRO.data"
)

const (
	sparseFrom    = 1 << 20   // bytes from which it is looked for such stretches
	sparseBlock   = 128 << 10 // bytes of each piece that is looked at
	sparseExtents = 1000      // with more the file is sent as it is
)

// places finds the directory that a name is in, and keeps the last one open: names come directory by
// directory, and to walk to each from the root takes calls for each part of it.
type places struct {
	root *os.Root
	path string
	dir  *os.File
}

// at gives the directory and the name in it.
func (p *places) at(name string) (dir int, base string, err error) {
	parent, base := path.Split(name)
	if p.dir == nil || p.path != parent {
		p.forget()
		d, err := p.root.Open(cmp.Or(strings.TrimSuffix(parent, "/"), "."))
		if err != nil {
			return -1, "", err
		}
		p.path, p.dir = parent, d
	}
	return int(p.dir.Fd()), base, nil
}

// forget is called when directories may have become others.
func (p *places) forget() {
	if p.dir != nil {
		p.dir.Close()
		p.dir = nil
	}
}

// sender sends entries as they are, with few calls for each: a disk may have many small files.
type sender struct {
	places
	tar    *tar.Writer
	links  map[uint64]string // first name of each inode that has several
	buffer []byte
}

func newSender(root *os.Root, to io.Writer) *sender {
	return &sender{
		places: places{root: root},
		tar:    tar.NewWriter(to),
		links:  map[uint64]string{},
		buffer: make([]byte, sparseBlock),
	}
}

// gone sends that an entry is no more.
func (s *sender) gone(name string) error {
	h := &tar.Header{Name: name, PAXRecords: map[string]string{gone: "1"}, Format: tar.FormatPAX}
	return s.tar.WriteHeader(h)
}

// add sends an entry, which was a regular file when it was looked at, or not.
func (s *sender) add(name string, regular bool) error {
	dir, base, err := s.at(name)
	if err != nil {
		return err
	}
	if regular {
		return s.file(dir, base, name)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	h := headerOf(name, &st)
	switch h.Typeflag {
	case 0:
		return nil // A socket means nothing without who listens, and tar has no word for it.
	case tar.TypeSymlink:
		n, err := unix.Readlinkat(dir, base, s.buffer)
		if err != nil {
			return err
		}
		h.Linkname = string(s.buffer[:n])
	case tar.TypeReg:
		return s.file(dir, base, name) // It is one now.
	}
	full := fmt.Sprintf("/proc/self/fd/%d/%s", dir, base)
	if err := s.attributes(h, func(b []byte) (int, error) { return unix.Llistxattr(full, b) },
		func(key string, b []byte) (int, error) { return unix.Lgetxattr(full, key, b) }); err != nil {
		return err
	}
	return s.tar.WriteHeader(h)
}

// headerOf says of an entry what can be said without looking into it. Its type is 0 if tar has none for it.
func headerOf(name string, st *unix.Stat_t) *tar.Header {
	h := &tar.Header{
		Name:    name,
		Mode:    int64(st.Mode & 0o7777),
		Uid:     int(st.Uid),
		Gid:     int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()),
		Format:  tar.FormatPAX,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	return h
}

// attributes adds an entry's extended attributes to its header.
func (s *sender) attributes(
	h *tar.Header, list func([]byte) (int, error), get func(string, []byte) (int, error),
) error {
	n, err := list(s.buffer)
	if err != nil || n == 0 {
		if errors.Is(err, unix.ENOTSUP) {
			err = nil
		}
		return err
	}
	h.PAXRecords = map[string]string{}
	for _, key := range strings.Split(strings.TrimSuffix(string(s.buffer[:n]), "\x00"), "\x00") {
		n, err := get(key, s.buffer)
		if err != nil {
			return err
		}
		h.PAXRecords["SCHILY.xattr."+key] = string(s.buffer[:n])
	}
	return nil
}

// file sends a file. It may have become something else since it was looked at.
func (s *sender) file(dir int, base, name string) error {
	fd, err := rawOpenat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return unix.ENOENT
	}
	if err != nil {
		return err
	}
	defer rawClose(fd)
	var st unix.Stat_t
	if err := rawFstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.ENOENT
	}
	h := headerOf(name, &st)
	if first := s.links[st.Ino]; first != "" {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		return s.tar.WriteHeader(h)
	}
	if st.Nlink > 1 {
		s.links[st.Ino] = name
	}
	if err := s.attributes(h, func(b []byte) (int, error) { return rawFlistxattr(fd, b) },
		func(key string, b []byte) (int, error) { return unix.Fgetxattr(fd, key, b) }); err != nil {
		return err
	}
	data := []extent{{0, st.Size}}
	if st.Size >= sparseFrom {
		if data, err = s.extents(fd, st.Size); err != nil {
			return err
		}
	}
	if sparse(data, st.Size) {
		setSparse(h, data, st.Size)
	}
	if err := s.tar.WriteHeader(h); err != nil {
		return err
	}
	for _, e := range data {
		if err := s.content(fd, e); err != nil {
			return err
		}
	}
	return nil
}

// content sends a part of a file. One that was cut since it was looked at will be sent again.
func (s *sender) content(fd int, e extent) error {
	for e.length > 0 {
		part := s.buffer[:min(int64(len(s.buffer)), e.length)]
		n, err := rawPread(fd, part, e.at)
		if err != nil {
			return err
		}
		if n == 0 {
			clear(part)
			n = len(part)
		}
		if _, err := s.tar.Write(part[:n]); err != nil {
			return err
		}
		e = extent{e.at + int64(n), e.length - int64(n)}
	}
	return nil
}

// extents finds where a file has something else than zeros.
func (s *sender) extents(fd int, size int64) ([]extent, error) {
	var found []extent
	for at := int64(0); at < size; {
		n, err := rawPread(fd, s.buffer, at)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break // It was cut.
		}
		if last := len(found) - 1; bytes.Count(s.buffer[:n], []byte{0}) == n {
			// nothing
		} else if last >= 0 && found[last].at+found[last].length == at {
			found[last].length += int64(n)
		} else {
			found = append(found, extent{at, int64(n)})
		}
		at += int64(n)
		if len(found) > sparseExtents {
			return []extent{{0, size}}, nil
		}
	}
	return found, nil
}

// changes compares the disk with what the host has. The overlay's own directory is not looked into.
func (k *keeper) changes(ctx context.Context) (changes, error) {
	c := changes{now: map[string]stamp{}}
	for dirs := []string{"."}; len(dirs) > 0; {
		below, err := k.compare(dirs[len(dirs)-1], &c)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return c, err
		}
		dirs = append(dirs[:len(dirs)-1], below...)
	}
	for name := range k.kept {
		if _, ok := c.now[name]; !ok {
			c.gone = append(c.gone, name)
		}
	}
	return c, nil
}

// compare compares what is in a directory, and gives the directories in it.
func (k *keeper) compare(name string, c *changes) (below []string, err error) {
	dir, err := k.root.Open(name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil // It went while it was looked at.
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, base := range names {
		var st unix.Stat_t
		err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		full := path.Join(name, base)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", full, err)
		}
		if full == "work" {
			continue
		}
		at := stampOf(&st)
		c.now[full] = at
		if before, ok := k.kept[full]; !ok || before != at {
			c.new = append(c.new, full)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			below = append(below, full)
		}
	}
	return below, nil
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{
		ino:   st.Ino,
		size:  uint64(st.Size),
		mode:  st.Mode,
		nlink: uint32(st.Nlink),
		uid:   st.Uid,
		gid:   st.Gid,
		mtime: syscall.Timespec(st.Mtim),
		ctime: syscall.Timespec(st.Ctim),
	}
}
