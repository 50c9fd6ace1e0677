package record

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// How much of a background command's output is kept, in bytes of its files: between one segment and two.
const (
	segmentLimit  = 2 << 20
	segmentPrefix = "output-"
	markEvery     = 32 << 10 // bytes of a segment between two places that are known by their offset
	pieceHeader   = 5        // the stream's number, and the length in 32 bits, little-endian
	maxPiece      = 64 << 10
)

// Streams of an output, as the wire numbers them.
const (
	StreamStdout = 3
	StreamStderr = 4
)

// Piece is a part of an output: what was written to one of its streams.
type Piece struct {
	Stream uint8
	Data   []byte
}

// Output is the output of one background command on disk. Its bytes are numbered from 0, both streams
// together, in the order in which they came; the oldest are dropped. It is safe for concurrent use.
type Output struct {
	dir string

	mu       sync.Mutex
	segments []segment // the last is written to
	end      int64
	closed   bool
	changed  chan struct{} // closed at the next change
}

// segment is one file of an output.
type segment struct {
	file  *os.File
	begin int64 // number of its first byte
	size  int64
	marks []mark
}

// mark is a place in a segment at which a piece begins.
type mark struct{ offset, at int64 }

// OpenOutput opens the output that a directory has, or will have. Whoever does must Close it. What a writer
// that was killed has left of a piece is cut off.
func OpenOutput(dir string) (*Output, error) {
	o := &Output{dir: dir, changed: make(chan struct{})}
	names, err := filepath.Glob(filepath.Join(dir, segmentPrefix+"*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		begin, err := strconv.ParseInt(strings.TrimPrefix(filepath.Base(name), segmentPrefix), 16, 64)
		if err != nil || begin < o.end && len(o.segments) > 0 {
			continue
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0o600)
		if err != nil {
			return nil, errors.Join(err, o.Close())
		}
		s := segment{file: f, begin: begin}
		o.end = s.scan()
		if err := f.Truncate(s.size); err != nil {
			return nil, errors.Join(err, f.Close(), o.Close())
		}
		o.segments = append(o.segments, s)
	}
	return o, nil
}

// scan finds a segment's pieces, and gives the number of the byte after the last.
func (s *segment) scan() int64 {
	end := s.begin
	var head [pieceHeader]byte
	info, err := s.file.Stat()
	if err != nil {
		return end
	}
	for {
		if _, err := s.file.ReadAt(head[:], s.size); err != nil {
			return end
		}
		n := int64(binary.LittleEndian.Uint32(head[1:]))
		if n == 0 || n > maxPiece || s.size+pieceHeader+n > info.Size() {
			return end
		}
		s.note(end)
		s.size, end = s.size+pieceHeader+n, end+n
	}
}

// note remembers the place where the next piece begins, if it is far from the one before.
func (s *segment) note(offset int64) {
	if len(s.marks) == 0 || s.size-s.marks[len(s.marks)-1].at >= markEvery {
		s.marks = append(s.marks, mark{offset, s.size})
	}
}

// Append adds to the output.
func (o *Output) Append(stream uint8, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(data) > 0 {
		n := min(len(data), maxPiece)
		if err := o.append(stream, data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	close(o.changed)
	o.changed = make(chan struct{})
	return nil
}

func (o *Output) append(stream uint8, data []byte) error {
	if o.closed {
		return os.ErrClosed
	}
	if last := len(o.segments) - 1; last < 0 || o.segments[last].size >= segmentLimit {
		if err := o.next(); err != nil {
			return err
		}
	}
	s := &o.segments[len(o.segments)-1]
	piece := append(binary.LittleEndian.AppendUint32([]byte{stream}, uint32(len(data))), data...)
	if _, err := s.file.WriteAt(piece, s.size); err != nil {
		return errors.Join(fmt.Errorf("cannot keep the command's output: %w", err), s.file.Truncate(s.size))
	}
	s.note(o.end)
	s.size, o.end = s.size+int64(len(piece)), o.end+int64(len(data))
	return nil
}

// next begins a segment, and drops the oldest if there are two.
func (o *Output) next() error {
	name := filepath.Join(o.dir, fmt.Sprintf("%s%016x", segmentPrefix, o.end))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	o.segments = append(o.segments, segment{file: f, begin: o.end})
	if len(o.segments) <= 2 {
		return nil
	}
	oldest := o.segments[0]
	o.segments = slices.Delete(o.segments, 0, 1)
	return errors.Join(os.Remove(oldest.file.Name()), oldest.file.Close())
}

// Bounds are the number of the first byte that is kept, and of the next that will come.
func (o *Output) Bounds() (begin, end int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.segments) > 0 {
		begin = o.segments[0].begin
	}
	return begin, o.end
}

// Read gives the pieces from a byte on, of limit bytes at most together, and the number of the first byte
// that it has given, which is greater than the one asked for if what is before was dropped. There may be none
// yet.
func (o *Output) Read(from int64, limit int) (pieces []Piece, at int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.segments) == 0 || from >= o.end {
		return nil, min(from, o.end), nil
	}
	from = max(from, o.segments[0].begin, 0)
	for at = from; limit > 0 && at < o.end; {
		s := o.segments[len(o.segments)-1]
		for i := len(o.segments) - 1; i > 0 && s.begin > at; i-- {
			s = o.segments[i-1]
		}
		got, err := s.read(at, limit)
		if err != nil || len(got) == 0 {
			return pieces, from, err
		}
		for _, p := range got {
			at, limit = at+int64(len(p.Data)), limit-len(p.Data)
		}
		pieces = append(pieces, got...)
	}
	return pieces, from, nil
}

// read gives the pieces of one segment from a byte on.
func (s *segment) read(from int64, limit int) (pieces []Piece, err error) {
	i, _ := slices.BinarySearchFunc(s.marks, from, func(m mark, from int64) int {
		if m.offset <= from {
			return -1
		}
		return 1
	})
	if i == 0 {
		return nil, nil
	}
	offset, at := s.marks[i-1].offset, s.marks[i-1].at
	buffer := make([]byte, min(s.size-at, markEvery+pieceHeader+maxPiece+int64(limit)))
	if _, err := s.file.ReadAt(buffer, at); err != nil {
		return nil, fmt.Errorf("cannot read a command's output: %w", err)
	}
	for len(buffer) >= pieceHeader && limit > 0 {
		n := int(binary.LittleEndian.Uint32(buffer[1:]))
		if n > len(buffer)-pieceHeader {
			break
		}
		data := buffer[pieceHeader : pieceHeader+n]
		if skip := from - offset; skip < int64(n) {
			data = data[max(skip, 0):]
			data = data[:min(len(data), limit)]
			limit -= len(data)
			if k := len(pieces) - 1; k >= 0 && pieces[k].Stream == buffer[0] {
				pieces[k].Data = append(pieces[k].Data, data...)
			} else {
				pieces = append(pieces, Piece{buffer[0], slices.Clone(data)})
			}
		}
		offset, buffer = offset+int64(n), buffer[pieceHeader+n:]
	}
	return pieces, nil
}

// Await returns when there is something from a byte on, or there will be nothing more, or ctx ends.
func (o *Output) Await(ctx context.Context, from int64) {
	for {
		o.mu.Lock()
		ready, changed := o.closed || o.end > from, o.changed
		o.mu.Unlock()
		if ready {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Finish says that nothing more will come.
func (o *Output) Finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.changed)
	}
}

// Close closes the files, which stay.
func (o *Output) Close() error {
	o.Finish()
	o.mu.Lock()
	defer o.mu.Unlock()
	var failed []error
	for _, s := range o.segments {
		failed = append(failed, s.file.Close())
	}
	o.segments = nil
	return errors.Join(failed...)
}
