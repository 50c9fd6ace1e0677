// Package wire carries many streams with credit over one byte pipe, and survives a pipe that outlives its
// users (virtio-serial).
//
// # The form on the pipe
//
// The asking side begins with a 16-byte magic number and a 16-byte random nonce; the answering side replies
// with another magic number and the same nonce. Whatever comes before is the rest of an earlier connection
// and is dropped. From then on both sides send frames: a header of 12 bytes (kind, flags, two reserved bytes,
// stream and length as little-endian 32-bit numbers), the payload, and one zero byte.
//
// The answering side looks for the magic number at any time, also in the middle of a frame, since a user of
// the pipe can die there without an end of file. So the asking side never sends the magic number but to
// greet: all its bytes are 0x80 or more, the first and the last byte of a header are less, and a payload that
// holds it is cut in two inside of it. The zero byte makes sure that a frame which was cut short is never
// completed by a greeting.
//
// # Bounds
//
// A side may send on a stream what its peer has given credit for. Credit is given back when a message is
// received by the application, so one stream never holds more than a window in memory. A peer that sends
// more, or too long a frame, ends the connection. Frames of an unknown kind are skipped.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Control is the kind of messages that are never split. A message of any other kind may arrive in pieces.
const Control = 1

// MaxKind is the last kind that is the user's.
const MaxKind = 15

// Message is one message on a stream. Kinds 1 to [MaxKind] are the user's.
type Message struct {
	Kind uint8
	Data []byte
}

// Options are the bounds of a connection. Both ends must use the same; the zero value is the default.
type Options struct {
	Window     int // bytes that a stream holds unread, 256 KiB
	MaxPayload int // bytes in one frame, 64 KiB
	MaxControl int // bytes in one control message, 4 MiB
	MaxStreams int // streams at a time, 2048
}

func (o Options) withDefaults() Options {
	set := func(v *int, def, least int) {
		if *v == 0 {
			*v = def
		}
		*v = max(*v, least)
	}
	set(&o.Window, 256<<10, 16<<10)
	set(&o.MaxPayload, 64<<10, 64)
	set(&o.MaxControl, 4<<20, 64)
	set(&o.MaxStreams, 2048, 1)
	o.MaxPayload = min(o.MaxPayload, o.Window/2, 1<<24-1)
	return o
}

// smallWindow is the window of a stream of which there may be many.
func (o Options) smallWindow() int { return max(o.Window/8, 16<<10) }

// Errors that a caller may act on.
var (
	// ErrClosed means that this side has closed the stream or the connection.
	ErrClosed = errors.New("closed")
	// ErrReset means that the peer has closed the stream before its end.
	ErrReset = errors.New("stream closed by the other side")
	// ErrReplaced means that a new connection has taken the pipe over.
	ErrReplaced = errors.New("replaced by a new connection")
	// ErrTooLarge means that a control message is longer than allowed.
	ErrTooLarge = errors.New("message too large")
	// ErrTooMany means that no further stream may be opened.
	ErrTooMany = errors.New("too many streams")
	// ErrProtocol means that the peer broke the protocol's rules.
	ErrProtocol = errors.New("protocol violation")
)

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// Kinds of our own. Those up to maxFrameKind that are not named here are skipped.
const (
	frameOpen    = 16 // a new stream
	frameEnd     = 17 // no more messages from this side
	frameReset   = 18 // the stream is over for both
	frameCredit  = 19 // payload: 4 bytes, what the peer may send in addition
	maxFrameKind = 0x7f
)

const (
	headerSize = 12
	frameExtra = headerSize + 1
	frameCost  = 64 // credit that a frame costs besides its payload: what it costs to keep
	flagMore   = 1  // the next frame continues this control message
	flagSmall  = 2  // of a frameOpen: the stream has a small window
	minPiece   = 4 << 10
)

// header is the beginning of a frame.
type header struct {
	kind, flags uint8
	stream      uint32
	length      int
}

func (h header) append(b []byte) []byte {
	b = append(b, h.kind, h.flags, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, h.stream)
	return binary.LittleEndian.AppendUint32(b, uint32(h.length))
}

func parseHeader(b []byte, limit int) (header, error) {
	h := header{kind: b[0], flags: b[1], stream: binary.LittleEndian.Uint32(b[4:])}
	length := binary.LittleEndian.Uint32(b[8:])
	if h.kind > maxFrameKind {
		return h, violation("frame of impossible kind %d", h.kind)
	}
	if length > uint32(limit) {
		return h, violation("frame of %d bytes, more than %d", length, limit)
	}
	h.length = int(length)
	return h, nil
}

// parser cuts a byte stream into frames, however the bytes arrive.
type parser struct {
	limit int
	// begin is asked where to put the payload of a frame: a slice of the header's length, or nil to skip it.
	begin func(header) ([]byte, error)
	// end is called when the frame is whole.
	end func(header, []byte) error

	head    [headerSize]byte
	got     int // bytes of the header
	frame   header
	payload []byte
	left    int // bytes of the payload, and of the zero byte, still to come; 0 in a header
}

func (p *parser) consume(b []byte) error {
	for len(b) > 0 {
		if p.left == 0 {
			n := copy(p.head[p.got:], b)
			p.got, b = p.got+n, b[n:]
			if p.got < headerSize {
				return nil
			}
			if err := p.beginFrame(); err != nil {
				return err
			}
			continue
		}
		n := min(p.left, len(b))
		if p.payload != nil {
			copy(p.payload[p.frame.length+1-p.left:], b[:n])
		}
		last := b[n-1]
		p.left, b = p.left-n, b[n:]
		if p.left > 0 {
			continue
		}
		if last != 0 {
			return violation("frame without its end")
		}
		payload := p.payload
		p.payload = nil
		if err := p.end(p.frame, payload); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) beginFrame() error {
	h, err := parseHeader(p.head[:], p.limit)
	if err != nil {
		return err
	}
	if p.payload, err = p.begin(h); err != nil {
		return err
	}
	p.frame, p.got, p.left = h, 0, h.length+1
	return nil
}

// Greetings. No byte is less than 0x80: see the package's comment.
const (
	magicAsk    = "\xf0\x9f\x94\xa5\xd0\x9f\xd0\xb8\xd1\x80\xd0\xbe\x8b\xe9\xc3\xb5"
	magicAnswer = "\xf0\x9f\xa7\x8a\xd0\xbb\xd1\x91\xd0\xb4\xd0\xbe\xd0\xba\xa3\xf7"
	nonceSize   = 16
)

// finder looks for a pattern in a byte stream, however the bytes arrive.
type finder struct {
	pattern []byte
	tail    []byte // the last bytes before the next chunk, fewer than the pattern's
}

// find returns the index just after the pattern's first occurrence that ends in chunk, or -1.
func (f *finder) find(chunk []byte) int {
	keep := len(f.pattern) - 1
	if len(f.tail) > 0 {
		seam := append(f.tail, chunk[:min(keep, len(chunk))]...)
		if i := bytes.Index(seam, f.pattern); i >= 0 {
			end := i + len(f.pattern) - len(f.tail)
			f.tail = f.tail[:0]
			return end
		}
	}
	if i := bytes.Index(chunk, f.pattern); i >= 0 {
		f.tail = f.tail[:0]
		return i + len(f.pattern)
	}
	if len(chunk) >= keep {
		f.tail = append(f.tail[:0], chunk[len(chunk)-keep:]...)
		return -1
	}
	f.tail = append(f.tail, chunk...)
	f.tail = append(f.tail[:0], f.tail[max(0, len(f.tail)-keep):]...)
	return -1
}
