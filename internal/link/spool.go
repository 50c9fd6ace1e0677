package link

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// A spool is the end of a guest's disk, past its file system. The host writes there what is too much for the
// pipe, a slot at a time, and only tells the guest where to read: a disk moves in large pieces what a pipe
// moves in pages.
const (
	SpoolSize = 2 * SpoolSlot
	SpoolSlot = 512 << 10
)

// A place in the spool is its offset and length, 32 bits each, little-endian. The guest answers with one byte
// for each that it has read, the number of the slot.
const placeSize = 8

// ImportSpooled is Import of what comes from a stream, through the spool that begins where disk does.
func (c *Client) ImportSpooled(
	ctx context.Context, i Import, from *wire.Stream, disk io.WriterAt,
) (ImportResult, error) {
	var result ImportResult
	i.Spooled = true
	s := &spooler{
		from: Reader(from, KindData),
		disk: disk,
		buf:  make([]byte, 64<<10),
		free: make(chan byte, SpoolSize/SpoolSlot),
		over: make(chan struct{}),
	}
	for slot := range cap(s.free) {
		s.free <- byte(slot)
	}
	quit := func() { close(s.over); from.CloseRecv() }
	in := source{
		kind: KindData,
		r:    s,
		wait: true,
		quit: quit,
	}
	return result, c.converse(ctx, OpImport, i, &result, in, map[uint8]io.Writer{KindData: (*slots)(s)})
}

// spooler reads as the places of what it has put into the spool.
type spooler struct {
	from io.Reader
	disk io.WriterAt
	buf  []byte
	free chan byte
	over chan struct{} // closed when nobody answers any more
	rest []byte        // of a place
}

func (s *spooler) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		select {
		case slot := <-s.free:
			n, err := s.fill(int64(slot) * SpoolSlot)
			if err != nil {
				return 0, err
			}
			s.rest = binary.LittleEndian.AppendUint32(nil, uint32(slot)*SpoolSlot)
			s.rest = binary.LittleEndian.AppendUint32(s.rest, uint32(n))
		case <-s.over:
			return 0, io.EOF
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// fill fills a slot; only the last may be less than full.
func (s *spooler) fill(at int64) (int64, error) {
	n, err := io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(s.disk, at)},
		io.LimitReader(s.from, SpoolSlot), s.buf)
	select {
	case <-s.over:
		return 0, io.EOF // what failed is that nobody wants it
	default:
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// slots takes the guest's answers.
type slots spooler

func (s *slots) Write(p []byte) (int, error) {
	for _, slot := range p {
		if int(slot) >= cap(s.free) {
			return 0, fmt.Errorf("the guest has read slot %d of %d", slot, cap(s.free))
		}
		select {
		case s.free <- slot:
		default:
			return 0, fmt.Errorf("the guest has read slot %d once more than it was filled", slot)
		}
	}
	return len(p), nil
}

// SpoolReader reads what ImportSpooled sends. read gives n bytes of the spool, valid until the next call.
func SpoolReader(s *wire.Stream, read func(offset, n int) ([]byte, error)) io.Reader {
	return &spoolReader{s: s, places: Reader(s, KindData), read: read}
}

type spoolReader struct {
	s      *wire.Stream
	places io.Reader
	read   func(offset, n int) ([]byte, error)
	rest   []byte
}

func (r *spoolReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next takes over a slot, which is free again at once.
func (r *spoolReader) next() (err error) {
	var place [placeSize]byte
	if _, err := io.ReadFull(r.places, place[:]); err != nil {
		return err
	}
	offset, n := binary.LittleEndian.Uint32(place[:]), binary.LittleEndian.Uint32(place[4:])
	if offset%SpoolSlot != 0 || offset >= SpoolSize || n > SpoolSlot {
		return fmt.Errorf("%d bytes at %d are no place in the spool", n, offset)
	}
	if r.rest, err = r.read(int(offset), int(n)); err != nil {
		return fmt.Errorf("cannot read the spool: %w", err)
	}
	return r.s.Send(KindData, []byte{byte(offset / SpoolSlot)})
}
