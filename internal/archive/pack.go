package archive

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Pack streams source, a directory or a .tar, .tar.gz or .tgz file, to w for Extract: of each entry its kind,
// path, permissions, time of change, content and link. It refuses what the contract's "Seeding a workspace"
// does, with a RefusedError that names the entry. What was written before an error is not to be used; an
// error does not name the source.
func Pack(ctx context.Context, w io.Writer, source string, l Limits) (Summary, error) {
	out := bufio.NewWriterSize(w, bufferSize)
	p := &packer{
		rules: newRules(l),
		alive: ctx.Err,
		out:   out,
		buf:   make([]byte, bufferSize),
	}
	err := p.source(source)
	if err == nil {
		err = writeEnd(out)
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
	out   *bufio.Writer
	buf   []byte
}

// Check tells whether a source can be packed at all: that it is there, may be read, and is of a kind that
// Pack takes.
func Check(source string) error {
	f, _, err := openSource(source)
	if err != nil {
		return err
	}
	return f.Close()
}

// openSource opens a source, and tells what it is: a directory if its mode says so, else an archive.
func openSource(name string) (*os.File, string, error) {
	// Without waiting for a writer if it is a FIFO.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", bare(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = bare(err)
	case info.IsDir():
		return f, ModeDirectory, nil
	case !info.Mode().IsRegular():
		err = refuse("", "it is neither a directory nor a file")
	case strings.HasSuffix(name, ".tar"), isCompressed(name):
		return f, ModeArchive, nil
	default:
		err = refuse("", "it is neither a directory nor named .tar, .tar.gz or .tgz")
	}
	f.Close()
	return nil, "", err
}

func isCompressed(name string) bool {
	return strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

func (p *packer) source(name string) error {
	f, mode, err := openSource(name)
	if err != nil {
		return err
	}
	defer f.Close()
	p.sum.Mode = mode
	if mode == ModeDirectory {
		return p.directory(f)
	}
	return p.archive(f, isCompressed(name))
}

// bare drops the path from an error that gets it from elsewhere.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// put admits an entry and writes its head; a file's content is to follow. It tells whether the entry is
// carried.
func (p *packer) put(e *entry) (bool, error) {
	if err := p.alive(); err != nil {
		return false, err
	}
	carried, err := p.admit(e)
	if err != nil || !carried {
		return false, err
	}
	return true, e.write(p.out)
}
