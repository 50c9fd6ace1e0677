package archive

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// PackOptions change what is carried.
type PackOptions struct {
	Limits Limits
	// Lenient leaves out of a directory what can not be carried, and counts it in the summary.
	Lenient bool
	// Links are the targets that symbolic links of a directory may have.
	Links Links
	// Skip tells of an entry of a directory that it stays behind, without a word.
	Skip func(path string, isDir bool) bool
	// Name is that of a single file, or what stands for a directory, in the stream. A directory without
	// one is packed as what is in it.
	Name string
	// Content, if set, tells whether a file's content is carried, by its size and by when anything of it last
	// changed, in nanoseconds. A file without is one for Walk alone.
	Content func(size, changedNS int64) bool
	// Owners carries who owns the entries.
	Owners bool
}

// Pack streams source, a directory or a .tar, .tar.gz or .tgz file, to w for Extract: of each entry its kind,
// path, permissions, time of change, content and link. It refuses what the contract's "Seeding a workspace"
// does, with a RefusedError that names the entry. What was written before an error is not to be used; an
// error does not name the source.
func Pack(ctx context.Context, w io.Writer, source string, o PackOptions) (Summary, error) {
	return pack(ctx, w, o, func(p *packer) error { return p.source(source) })
}

// PackPath packs a file of any kind, or a directory, by its own name or another. Of the path itself only
// the last name is not followed if it is a link.
func PackPath(ctx context.Context, w io.Writer, name string, o PackOptions) (Summary, error) {
	return pack(ctx, w, o, func(p *packer) error { return p.path(name) })
}

// PackTar packs what is in a tar, uncompressed.
func PackTar(ctx context.Context, w io.Writer, tar io.Reader, o PackOptions) (Summary, error) {
	return pack(ctx, w, o, func(p *packer) error {
		p.sum.Mode, p.links = ModeArchive, o.Links
		return p.archive(tar, false)
	})
}

func pack(ctx context.Context, w io.Writer, o PackOptions, source func(*packer) error) (Summary, error) {
	out := bufio.NewWriterSize(w, bufferSize)
	p := &packer{
		o:     o,
		rules: newRules(o.Limits),
		alive: ctx.Err,
		out:   out,
		buf:   make([]byte, bufferSize),
	}
	p.heads = o.Content != nil
	err := source(p)
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
	o     PackOptions
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
		p.links = p.o.Links
		return p.directory(f)
	}
	return p.archive(f, isCompressed(name))
}

// path packs whatever is at a path.
func (p *packer) path(name string) error {
	p.sum.Mode, p.links = ModeDirectory, p.o.Links
	w := &treeWalk{packer: p, linked: map[fileID]string{}}
	above, base := filepath.Split(filepath.Clean(name))
	if base == "" || base == "." || base == ".." || p.o.Name == "" {
		f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_DIRECTORY, 0)
		if err != nil {
			return bare(err)
		}
		defer f.Close()
		return w.below(int(f.Fd()), "")
	}
	if above == "" {
		above = "."
	}
	dir, err := os.OpenFile(above, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return bare(err)
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return w.entry(int(dir.Fd()), p.o.Name, base)
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
