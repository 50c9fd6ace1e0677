package agent

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// gone is the record that says of an entry that it is no more.
const gone = "PYRO.gone"

// keeper sends what was written to a guest's disk that is memory, so that the host can keep it: all of it,
// or what has changed since it was last asked.
type keeper struct {
	root *os.Root // of the disk

	mu   sync.Mutex
	kept map[string]stamp // what the host has
}

// stamp changes when a file does.
type stamp struct {
	ino, size    uint64
	mode, nlink  uint32
	uid, gid     uint32
	mtime, ctime syscall.Timespec
}

// changes are what the host does not have yet.
type changes struct {
	gone, new []string
	now       map[string]stamp
}

// save sends the entries that are gone, then those that are new or changed.
func (k *keeper) save(ctx context.Context, full bool, to io.Writer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if full {
		k.kept = nil
	}
	c, err := k.changes(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the guest's files: %w", err)
	}
	k.kept = nil // unless all goes well
	buffered := bufio.NewWriterSize(to, 64<<10)
	e := &exporter{
		root:  k.root,
		whole: true,
		tar:   tar.NewWriter(buffered),
		links: map[uint64]string{},
	}
	for _, name := range c.gone {
		h := &tar.Header{Name: name, PAXRecords: map[string]string{gone: "1"}, Format: tar.FormatPAX}
		if err := e.tar.WriteHeader(h); err != nil {
			return err
		}
	}
	for _, name := range c.new {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := e.add(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot send the guest's file %q: %w", name, err)
		}
	}
	if err := errors.Join(e.tar.Close(), buffered.Flush()); err != nil {
		return err
	}
	k.kept = c.now
	return nil
}

// changes compares the disk with what the host has. The overlay's own directory is not looked into.
func (k *keeper) changes(ctx context.Context) (changes, error) {
	c := changes{now: map[string]stamp{}}
	err := fs.WalkDir(k.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // It went while it was looked at.
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || name == "." {
			return err
		}
		if name == "work" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		at := stampOf(info)
		c.now[name] = at
		if before, ok := k.kept[name]; !ok || before != at {
			c.new = append(c.new, name)
		}
		return nil
	})
	for name := range k.kept {
		if _, ok := c.now[name]; !ok {
			c.gone = append(c.gone, name)
		}
	}
	return c, err
}

func stampOf(info fs.FileInfo) stamp {
	st := info.Sys().(*syscall.Stat_t)
	return stamp{
		ino:   st.Ino,
		size:  uint64(st.Size),
		mode:  st.Mode,
		nlink: uint32(st.Nlink),
		uid:   st.Uid,
		gid:   st.Gid,
		mtime: st.Mtim,
		ctime: st.Ctim,
	}
}

// restore writes what [keeper.save] sent, as the host has kept it: parts, each behind its length. A part
// that was not finished has none, and is the last.
func restore(root *os.Root, from io.Reader) error {
	r := &restorer{root: root, dirs: map[string]*tar.Header{}}
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
	root *os.Root
	dirs map[string]*tar.Header // whose times are set at the end
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
	info, err := r.root.Lstat(name)
	if err == nil && (h.Typeflag != tar.TypeDir || !info.IsDir()) {
		if err := r.root.RemoveAll(name); err != nil {
			return err
		}
		delete(r.dirs, name)
	}
	if h.PAXRecords[gone] != "" {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err != nil {
			err = r.root.Mkdir(name, 0o700)
		}
		r.dirs[name] = h
	case tar.TypeLink:
		return r.root.Link(h.Linkname, name)
	case tar.TypeSymlink:
		err = r.root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		err = r.file(name, content)
	default:
		err = r.node(name, h)
	}
	if err != nil {
		return err
	}
	return r.attributes(name, h)
}

func (r *restorer) file(name string, content io.Reader) error {
	f, err := r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// node makes a device, which may be one that hides a file of the image's, or a FIFO.
func (r *restorer) node(name string, h *tar.Header) error {
	dir, err := r.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
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
	return unix.Mknodat(int(dir.Fd()), path.Base(name), kind|uint32(h.Mode&0o777), int(device))
}

// attributes sets the owner first: that takes bits from the mode.
func (r *restorer) attributes(name string, h *tar.Header) error {
	if err := r.root.Lchown(name, h.Uid, h.Gid); err != nil {
		return err
	}
	dir, err := r.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	for key, value := range h.PAXRecords {
		if key, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			full := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), path.Base(name))
			if err := unix.Lsetxattr(full, key, []byte(value), 0); err != nil {
				return err
			}
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	if err := unix.Fchmodat(int(dir.Fd()), path.Base(name), uint32(h.Mode&0o7777), 0); err != nil {
		return err
	}
	return r.root.Chtimes(name, time.Time{}, h.ModTime)
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
