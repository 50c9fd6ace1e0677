package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Type is what an entry of a stream is.
type Type byte

// The types of entries.
const (
	TypeDirectory Type = 'd'
	TypeFile      Type = 'f'
	TypeLink      Type = 'l' // a symbolic link
)

// Entry is one entry of a stream.
type Entry struct {
	Type    Type
	Path    string
	Mode    uint32 // permissions, with set-uid, set-gid and sticky
	Size    int64
	MTimeNS int64
	// Target is a symbolic link's text; of a file that is another name of an earlier entry, that entry's
	// path.
	Target string
	// Head says that a file's content is not in the stream.
	Head bool
}

// Walk visits what Pack sent, in its order. Content reads a file's content, holes as zeros; it is nil if the
// entry has none: it is no file, another name of a file, or a head. Nothing is made, links are judged by
// nobody.
func Walk(
	ctx context.Context, r io.Reader, l Limits, visit func(e Entry, content io.Reader) error,
) (Summary, error) {
	w := &walker{rules: newRules(l)}
	w.links, w.heads = LinksAny, true
	in := bufio.NewReaderSize(w.bounded(r, ctx.Err), bufferSize)
	for {
		err := w.next(in, visit)
		if errors.Is(err, io.EOF) {
			return w.sum, nil
		}
		if err != nil {
			return Summary{}, err
		}
	}
}

type walker struct{ *rules }

func (w *walker) next(in *bufio.Reader, visit func(Entry, io.Reader) error) error {
	var e entry
	if err := e.read(in); err != nil {
		return err
	}
	carried, err := w.admit(&e)
	if err != nil || !carried {
		return err
	}
	out := Entry{
		Type:    TypeFile,
		Path:    e.name,
		Mode:    e.mode,
		Size:    e.size,
		MTimeNS: e.mtime.UnixNano(),
		Target:  e.link,
		Head:    e.kind == fileHead,
	}
	var content io.Reader
	switch e.kind {
	case directory:
		out.Type = TypeDirectory
	case symbolicLink:
		out.Type = TypeLink
	case file:
		content = &whole{in: in, left: e.size}
	case sparseFile:
		content = &holed{in: in, e: &e}
	}
	err = visit(out, content)
	if err == nil && content != nil {
		_, err = io.Copy(io.Discard, content)
	}
	if err != nil {
		err = fmt.Errorf("entry %q: %w", e.name, err)
	}
	return err
}

// whole reads so many bytes, and tells if they end before that.
type whole struct {
	in   *bufio.Reader
	left int64
}

func (w *whole) Read(p []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	n, err := w.in.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	if err != nil {
		err = cut(err)
	}
	return n, err
}

// holed reads a sparse file's content from its parts.
type holed struct {
	in *bufio.Reader
	e  *entry
	at int64
}

func (h *holed) Read(p []byte) (int, error) {
	for len(h.e.extents) > 0 && h.e.extents[0].off+h.e.extents[0].length == h.at {
		h.e.extents = h.e.extents[1:]
	}
	end, hole := h.e.size, true
	if len(h.e.extents) > 0 {
		x := h.e.extents[0]
		if end = x.off; h.at >= x.off {
			end, hole = x.off+x.length, false
		}
	}
	if h.at == end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), end-h.at)]
	n := len(p)
	if hole {
		clear(p)
	} else {
		var err error
		if n, err = h.in.Read(p); err != nil {
			return n, cut(err)
		}
	}
	h.at += int64(n)
	return n, nil
}

// Writer makes a stream as Pack does, of entries that somebody else has looked at.
type Writer struct {
	out *bufio.Writer
}

// NewWriter begins a stream.
func NewWriter(w io.Writer) *Writer { return &Writer{out: bufio.NewWriterSize(w, bufferSize)} }

// Put adds an entry of Walk's, with a file's content unless it is a head, or another name of one.
func (w *Writer) Put(e Entry, content []byte) error {
	out := entry{
		name:  e.Path,
		link:  e.Target,
		mode:  e.Mode,
		size:  e.Size,
		mtime: time.Unix(0, e.MTimeNS),
	}
	switch {
	case e.Type == TypeDirectory:
		out.kind = directory
	case e.Type == TypeLink:
		out.kind = symbolicLink
	case e.Head:
		out.kind = fileHead
	case e.Target != "":
		out.kind = hardLink
	default:
		out.kind, out.size = file, int64(len(content))
	}
	if err := out.write(w.out); err != nil {
		return err
	}
	_, err := w.out.Write(content)
	return err
}

// Close ends the stream. It does not close what the stream is written to.
func (w *Writer) Close() error {
	return errors.Join(writeEnd(w.out), w.out.Flush())
}
