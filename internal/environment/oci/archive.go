package oci

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

	"golang.org/x/sys/unix"
)

// noBlock keeps the opening of a FIFO from waiting for its other end.
const noBlock = unix.O_NONBLOCK

// archive is a tar that stands for a folder.
type archive struct {
	file  *os.File
	files map[string]section
	links map[string]string
}

// section is where a file's bytes lie.
type section struct{ off, size int64 }

// maxMembers bounds an archive of an image.
const maxMembers = 100_000

// openArchive reads where everything lies in an archive. A compressed one is decompressed into dir first.
func openArchive(ctx context.Context, dir, name string) (*archive, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|noBlock, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the image's archive: %w", err)
	}
	a := &archive{file: f, files: map[string]section{}, links: map[string]string{}}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err == nil {
		err = a.plain(ctx, dir)
	}
	if err == nil {
		err = a.index(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot read the archive %q: %w", name, err), a.Close())
	}
	return a, nil
}

// plain replaces a compressed archive by what is in it.
func (a *archive) plain(ctx context.Context, dir string) error {
	raw := &counter{Reader: a.file, ctx: ctx}
	buffered := bufio.NewReaderSize(raw, 256<<10)
	in, compressed, err := decompress(buffered)
	if err != nil || !compressed {
		return err
	}
	defer in.Close()
	u := newUnpacker(dir)
	out, err := u.create()
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, &bounded{in, u, raw, 0}); err != nil {
		return errors.Join(err, out.Close())
	}
	err = a.file.Close()
	a.file = out
	return err
}

// index notes where the members lie.
func (a *archive) index(ctx context.Context) error {
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	tr := tar.NewReader(a.file)
	for members := 0; ; members++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if members == maxMembers {
			return fmt.Errorf("it has more than the %d members allowed", maxMembers)
		}
		off, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		name := path.Join("/", h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			a.files[name] = section{off, h.Size}
		case tar.TypeSymlink: // docker save once wrote them for layers that occur twice
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Join("/", h.Linkname)
		}
	}
}

// locate tells where a member's bytes lie.
func (a *archive) locate(name string) (section, error) {
	name = path.Join("/", name)
	if to, ok := a.links[name]; ok {
		name = to
	}
	at, ok := a.files[name]
	if !ok {
		return section{}, &fs.PathError{Op: "open", Path: strings.TrimPrefix(name, "/"), Err: fs.ErrNotExist}
	}
	return at, nil
}

func (a *archive) open(name string) (io.ReadCloser, error) {
	at, err := a.locate(name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(a.file, at.off, at.size)), nil
}

func (a *archive) size(name string) (int64, error) {
	at, err := a.locate(name)
	return at.size, err
}

// Close implements folder.
func (a *archive) Close() error { return a.file.Close() }
