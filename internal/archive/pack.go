package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Pack streams source, a directory or a .tar, .tar.gz or .tgz file, to w as a normalised tar: paths without ".", an
// entry's type, permissions, times and link alone, its owner root. It refuses what the contract's "Seeding a
// workspace" does, with a RefusedError that names the entry. What was written before an error is not to be used; an error does not
// name the source.
func Pack(ctx context.Context, w io.Writer, source string, l Limits) (Summary, error) {
	out := bufio.NewWriterSize(w, bufferSize)
	p := &packer{rules: newRules(l), alive: ctx.Err, tw: tar.NewWriter(out), buf: make([]byte, bufferSize)}
	err := p.source(source)
	if err == nil {
		err = p.tw.Close()
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return Summary{}, err
	}
	return p.sum, nil
}

type packer struct {
	*rules
	alive func() error
	tw    *tar.Writer
	buf   []byte
}

func (p *packer) source(name string) error {
	// Without waiting for a writer if it is a FIFO.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return bare(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return bare(err)
	}
	switch {
	case info.IsDir():
		p.sum.Mode = ModeDirectory
		return p.directory(f)
	case !info.Mode().IsRegular():
		return refuse("", "it is neither a directory nor a file")
	case strings.HasSuffix(name, ".tar"):
		p.sum.Mode = ModeArchive
		return p.archive(f, false)
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		p.sum.Mode = ModeArchive
		return p.archive(f, true)
	default:
		return refuse("", "it is neither a directory nor named .tar, .tar.gz or .tgz")
	}
}

// bare drops the path from an error that gets it from elsewhere.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// put admits an entry and writes its header. It tells whether the content is to follow.
func (p *packer) put(h *tar.Header) (bool, error) {
	if err := p.alive(); err != nil {
		return false, err
	}
	name, target, err := p.admit(h)
	if err != nil || name == "" {
		return false, err
	}
	out := &tar.Header{Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o7777, ModTime: h.ModTime}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		out.Typeflag = tar.TypeReg
		out.Size = h.Size
	case tar.TypeDir:
		out.Name += "/"
	case tar.TypeSymlink:
		out.Linkname = h.Linkname
	case tar.TypeLink:
		out.Linkname = target
	}
	if h.ModTime.Nanosecond() != 0 {
		out.Format = tar.FormatPAX // the one that tells parts of a second
	}
	if err := p.tw.WriteHeader(out); err != nil {
		return false, fmt.Errorf("entry %q: %w", h.Name, err)
	}
	return out.Typeflag == tar.TypeReg, nil
}
