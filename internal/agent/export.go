package agent

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// Whiteouts as the OCI image specification has them.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// export sends what differs from the base image as a tar stream.
func (a *Agent) export(ctx context.Context, p link.Export, stream *wire.Stream) error {
	if p.Still {
		if err := a.hold(true); err != nil {
			return err
		}
		defer func() { _ = a.hold(false) }()
	}
	if err := a.sync(); err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(link.Writer(stream, link.KindData), 64<<10)
	e := &exporter{root: a.upper, tar: tar.NewWriter(buffered), links: map[uint64]string{}}
	err := e.walk(ctx, ".")
	if err == nil && p.Workspace && besideRoot(link.Workspace) {
		err = e.moved(ctx, strings.TrimPrefix(link.Workspace, "/"))
	}
	if err != nil {
		return fmt.Errorf("cannot export the guest's files: %w", err)
	}
	if err := e.tar.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// besideRoot tells whether a directory is a file system of its own, so that what is in it is not found
// above the image.
func besideRoot(dir string) bool {
	here, err := os.Stat(dir)
	root, rootErr := os.Stat("/")
	if err != nil || rootErr != nil {
		return false
	}
	return here.Sys().(*syscall.Stat_t).Dev != root.Sys().(*syscall.Stat_t).Dev
}

type exporter struct {
	root  *os.Root
	tar   *tar.Writer
	links map[uint64]string // first name of each inode that has several
}

// walk adds all that is below a directory.
func (e *exporter) walk(ctx context.Context, dir string) error {
	return fs.WalkDir(e.root.FS(), dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || name == dir || e.owned(name) {
			return err
		}
		added, err := e.add(name)
		if err != nil || !added.redirected {
			return err
		}
		if err := e.moved(ctx, name); err != nil {
			return err
		}
		return fs.SkipDir
	})
}

// moved adds all of a directory that came with the image and was renamed. What differs from the image is kept
// by reference to its old name there, which a tar stream has no word for: it is read as the guest sees it.
func (e *exporter) moved(ctx context.Context, name string) error {
	root, err := os.OpenRoot("/")
	if err != nil {
		return err
	}
	defer root.Close()
	whole := &exporter{root: root, tar: e.tar, links: map[uint64]string{}}
	return whole.walk(ctx, name)
}

// owned tells whether the agent itself wrote a file, to name this machine.
func (e *exporter) owned(name string) bool {
	switch name {
	case "etc/hostname", "etc/hosts", "etc/machine-id", "etc/resolv.conf":
		return true
	}
	return false
}

// added is what became of an entry.
type added struct {
	opaque     bool // it hides what the base image has below it
	redirected bool // it is a directory of the base image under a new name
}

func (e *exporter) add(name string) (added, error) {
	info, err := e.root.Lstat(name)
	if err != nil {
		return added{}, err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return added{}, nil // It means nothing without who listens, and tar has no word for it.
	}
	st := info.Sys().(*syscall.Stat_t)
	if info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0 {
		dir, base := path.Split(name)
		return added{}, e.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + whiteout + base})
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = e.root.Readlink(name); err != nil {
			return added{}, err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return added{}, err
	}
	h.Name, h.Format, h.Uname, h.Gname = name, tar.FormatPAX, "", ""
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	what, err := e.xattrs(name, h)
	if err != nil {
		return added{}, err
	}
	if info.IsDir() {
		h.Name += "/"
	}
	if first := e.links[st.Ino]; first != "" && info.Mode().IsRegular() {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
	} else if st.Nlink > 1 && info.Mode().IsRegular() {
		e.links[st.Ino] = name
	}
	if err := e.tar.WriteHeader(h); err != nil {
		return what, err
	}
	if what.opaque || what.redirected {
		return what, e.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name + "/" + opaque})
	}
	if h.Typeflag != tar.TypeReg {
		return what, nil
	}
	// It may have become a FIFO since it was looked at.
	f, err := e.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		f, err = onlyRegular(f)
	}
	if err != nil {
		return added{}, err
	}
	defer f.Close()
	_, err = io.CopyN(e.tar, f, h.Size)
	return what, err
}

// xattrs adds a file's extended attributes, and reads those of the overlay.
func (e *exporter) xattrs(name string, h *tar.Header) (what added, err error) {
	dir, err := e.root.Open(path.Dir(name))
	if err != nil {
		return what, err
	}
	defer dir.Close()
	full := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), path.Base(name))
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(full, buf)
	if err != nil || n == 0 {
		return what, err
	}
	value := make([]byte, 64<<10)
	for key := range bytes.SplitSeq(bytes.TrimSuffix(buf[:n], []byte{0}), []byte{0}) {
		n, err := unix.Lgetxattr(full, string(key), value)
		if err != nil {
			return what, err
		}
		if rest, ok := strings.CutPrefix(string(key), "trusted.overlay."); ok {
			what.opaque = what.opaque || rest == "opaque" && string(value[:n]) == "y"
			what.redirected = what.redirected || rest == "redirect"
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+string(key)] = string(value[:n])
	}
	return what, nil
}
