package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// maxTrailer is how many zeros may follow the end of an archive: tar fills its last record with them.
const maxTrailer = 4 << 20

const gzipMagic = "\x1f\x8b"

// archive packs what is in a tar archive.
func (p *packer) archive(r io.Reader, compressed bool) error {
	in := bufio.NewReaderSize(r, bufferSize)
	magic, err := in.Peek(len(gzipMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return bare(err)
	}
	switch is := string(magic) == gzipMagic; {
	case is && !compressed:
		return refuse("", "it is not what its name says: it is compressed by gzip")
	case !is && compressed:
		return refuse("", "it is not what its name says: it is not compressed by gzip")
	}
	plain := io.Reader(in)
	if compressed {
		zr, err := gzip.NewReader(in)
		if err != nil {
			return damage("", err)
		}
		plain = zr
	}
	return readTar(p.bounded(plain, p.alive), p.buf, p.member)
}

// member packs what an archive has next.
func (p *packer) member(tr *tar.Reader, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if p.o.Lenient {
			p.sum.Left.add(h.Name, errors.New("it is a device or a FIFO"))
			return nil
		}
	}
	if p.o.Skip != nil && p.o.Skip(path.Clean(h.Name), h.Typeflag == tar.TypeDir) {
		return nil
	}
	e := &entry{
		name:  h.Name,
		link:  h.Linkname,
		mode:  uint32(h.Mode & 0o7777),
		mtime: h.ModTime,
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		p.implied++
		return p.count(h.Name)
	case tar.TypeReg, tar.TypeGNUSparse:
		e.kind, e.size = file, h.Size
	case tar.TypeDir:
		e.kind = directory
	case tar.TypeSymlink:
		e.kind = symbolicLink
	case tar.TypeLink:
		e.kind = hardLink
	case tar.TypeChar, tar.TypeBlock:
		return refuse(h.Name, "it is a device node")
	case tar.TypeFifo:
		return refuse(h.Name, "it is a FIFO")
	default:
		return refuse(h.Name, "its type %q is not one that can be carried", h.Typeflag)
	}
	if p.o.Owners {
		e.uid, e.gid = uint32(h.Uid), uint32(h.Gid)
	}
	if e.kind == file && isSparse(h) && e.size >= 0 && e.size <= p.limits.MaxBytes {
		return p.sparse(tr, e)
	}
	if carried, err := p.put(e); err != nil || !carried || e.kind != file {
		return err
	}
	n, err := io.CopyBuffer(justWriter{p.out}, justReader{tr}, p.buf)
	if err == nil && n != h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("entry %q: %w", h.Name, err)
	}
	return nil
}

// isSparse tells whether an entry's content has holes.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// sparse packs a file with holes by way of a temporary one: where they are is known only when it has been
// read.
func (p *packer) sparse(tr *tar.Reader, e *entry) error {
	f, err := os.CreateTemp("", "pyro-sparse-")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	zeros := make([]byte, len(p.buf))
	for at := int64(0); at < e.size; {
		if err := p.alive(); err != nil {
			return err
		}
		part := p.buf[:min(int64(len(p.buf)), e.size-at)]
		if _, err := io.ReadFull(tr, part); err != nil {
			return err
		}
		if !bytes.Equal(part, zeros[:len(part)]) {
			if _, err := f.WriteAt(part, at); err != nil {
				return err
			}
		}
		at += int64(len(part))
	}
	if err := f.Truncate(e.size); err != nil {
		return err
	}
	w := &treeWalk{packer: p}
	if e.extents, err = dataOf(int(f.Fd()), e.size); err != nil {
		return err
	}
	parts := []extent{{0, e.size}}
	if e.extents != nil {
		e.kind, parts = sparseFile, e.extents
	}
	if carried, err := p.put(e); err != nil || !carried {
		return err
	}
	for _, x := range parts {
		if err := w.extent(int(f.Fd()), e.name, x); err != nil {
			return err
		}
	}
	return nil
}

// justReader and justWriter hide what else io.Copy might use in place of the buffer.
type (
	justReader struct{ io.Reader }
	justWriter struct{ io.Writer }
)

// readTar calls each with every entry of an archive that must be whole: end with the mark of the end, and
// nothing but zeros behind it.
func readTar(r *boundedReader, buf []byte, each func(*tar.Reader, *tar.Header) error) error {
	in := bufio.NewReaderSize(r, bufferSize)
	ends := &endReader{r: in}
	tr := tar.NewReader(ends)
	name, first := "", true
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if first && errors.Is(err, tar.ErrHeader) {
			return refuse("", "it is not what its name says: it is not a tar archive")
		}
		if err != nil {
			return damage(name, err)
		}
		first, name = false, h.Name
		if err := each(tr, h); err != nil {
			return damage(name, err)
		}
	}
	if ends.ended {
		return refuse(name, "the archive is truncated: it has no end mark behind this entry")
	}
	return trailer(in, buf)
}

// endReader remembers that the end of the file was seen.
type endReader struct {
	r     io.Reader
	ended bool
}

func (e *endReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.ended = e.ended || errors.Is(err, io.EOF)
	return n, err
}

func trailer(r io.Reader, buf []byte) error {
	var zeros [512]byte
	for total := 0; ; {
		n, err := r.Read(buf)
		total += n
		for rest := buf[:n]; len(rest) > 0; rest = rest[min(len(rest), len(zeros)):] {
			if part := rest[:min(len(rest), len(zeros))]; !bytes.Equal(part, zeros[:len(part)]) {
				return refuse("", "something follows the end of the archive")
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, gzip.ErrHeader):
			return refuse("", "something follows the end of the archive")
		case errors.Is(err, io.ErrUnexpectedEOF):
			return refuse("", "the archive is truncated, or something follows its end")
		case err != nil:
			return damage("", err)
		case total > maxTrailer:
			return refuse("", "more than %d zeros follow the end of the archive", maxTrailer)
		}
	}
}

// damage turns what archive/tar and compress/gzip say about foreign bytes into a refusal at the entry that
// was read.
func damage(entry string, err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(entry, "the archive is truncated")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return refuse(entry, "the archive is damaged: %v", err)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return refuse(entry, "the archive is damaged behind this entry: %v", err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("entry %q: the archive ends early: %w", entry, io.ErrUnexpectedEOF)
	}
	return err
}
