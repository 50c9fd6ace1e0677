// Package wire carries frames with a length limit, and streams with credit, over any byte pipe.
//
// The asking side opens each connection with a greeting: a fixed magic number and a nonce that the answering side
// sends back. A pipe into a guest outlives connections and loses frames when one dies in the middle, so the
// answering side looks for a greeting at every byte; for that the magic number never stands in what follows it.
//
// A frame is a header of 12 bytes (kind, three zero bytes, stream, length; big-endian) and its payload. Frames of
// an unknown kind are skipped. Each stream has one window for all its kinds of message, so that their order is
// kept: who sends stops when the window is used up, until who receives has taken messages out.
package wire

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Sizes, in bytes.
const (
	window     = 256 << 10 // of a stream, for each direction
	maxPayload = 64 << 10  // of a frame
	maxMessage = 1 << 20   // of a control message
	headerSize = 12
)

// maxStreams bounds how many streams a connection may have at once.
const maxStreams = 256

// ControlKind is the kind of message that is never split: it arrives as it was sent.
const ControlKind = 1

// maxKind is the greatest kind that is the user's.
const maxKind = 15

// Kinds of frame that are the connection's own.
const (
	frameOpen   = 0x10 // opens a stream
	frameCredit = 0x11 // payload: 4 bytes, how much of the window is free again
	frameEnd    = 0x12 // the sender sends no more
	frameReset  = 0x13 // the stream is over, both ways
	frameMore   = 0x80 // flag on a kind: the message goes on in the next frame of the stream
)

// Message is what a stream carries. Kinds 1 to 15 are the user's.
type Message struct {
	Kind uint8
	Data []byte
}

// Errors of connections and streams.
var (
	ErrClosed   = errors.New("the connection is closed")
	ErrReset    = errors.New("the stream was ended by the other side")
	ErrProtocol = errors.New("the other side breaks the protocol")
)

// Conn is one connection. All its methods may be called from any goroutine.
type Conn struct {
	pipe io.ReadWriteCloser // nil Close where the pipe outlives the connection
	dial bool

	write  sync.Mutex // one frame at a time
	output func(head, payload []byte) error

	mu       sync.Mutex
	streams  map[uint32]*Stream
	next     uint32
	accepted chan *Stream
	err      error
	done     chan struct{}
}

func newConn(dial bool, output func(head, payload []byte) error, pipe io.ReadWriteCloser) *Conn {
	return &Conn{pipe: pipe, dial: dial, output: output, streams: map[uint32]*Stream{},
		accepted: make(chan *Stream, maxStreams), done: make(chan struct{})}
}

// Open opens a stream. Only the side that dialled may.
func (c *Conn) Open() (*Stream, error) {
	if !c.dial {
		return nil, errors.New("only the asking side opens streams")
	}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	if len(c.streams) >= maxStreams {
		c.mu.Unlock()
		return nil, fmt.Errorf("%d streams are open, the limit", maxStreams)
	}
	c.next++
	s := newStream(c, c.next)
	c.streams[s.id] = s
	c.mu.Unlock()
	if err := c.send(frameOpen, s.id, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// Accept waits for the next stream that the other side opens. Those that came before the connection's end are given
// still, with what they brought: somebody may ask and leave.
func (c *Conn) Accept() (*Stream, error) {
	select {
	case s := <-c.accepted:
		return s, nil
	case <-c.done:
	}
	select {
	case s := <-c.accepted:
		return s, nil
	default:
		return nil, c.Err()
	}
}

// Done is closed when the connection is over.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection is over; nil while it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and all its streams.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	return nil
}

// fail ends the connection for a reason, once.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	streams := c.streams
	c.streams = map[uint32]*Stream{}
	close(c.done)
	c.mu.Unlock()
	for _, s := range streams {
		s.fail(err)
	}
	if c.pipe != nil {
		c.pipe.Close()
	}
}

// send writes one frame.
func (c *Conn) send(kind uint8, stream uint32, payload []byte) error {
	var head [headerSize]byte
	putHeader(head[:], kind, stream, len(payload))
	c.write.Lock()
	err := c.output(head[:], payload)
	c.write.Unlock()
	if err != nil {
		c.fail(fmt.Errorf("cannot write to the pipe: %w", err))
		return c.Err()
	}
	return nil
}

// receive handles one frame. An error ends the connection.
func (c *Conn) receive(h header, payload []byte) error {
	if h.kind == frameOpen {
		return c.opened(h.stream)
	}
	c.mu.Lock()
	s := c.streams[h.stream]
	c.mu.Unlock()
	if s == nil {
		return nil // It is over, and the other side did not know yet.
	}
	switch kind := h.kind &^ frameMore; {
	case h.kind == frameCredit:
		return s.credit(payload)
	case h.kind == frameEnd:
		s.ended()
	case h.kind == frameReset:
		s.fail(ErrReset)
		c.forget(s)
	case kind >= 1 && kind <= maxKind:
		return s.arrived(kind, h.kind&frameMore != 0, payload)
	}
	return nil
}

func (c *Conn) opened(id uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dial {
		return fmt.Errorf("%w: it opens a stream", ErrProtocol)
	}
	if c.err != nil {
		return nil
	}
	if c.streams[id] != nil || len(c.streams) >= maxStreams {
		return fmt.Errorf("%w: stream %d is open, or one too many", ErrProtocol, id)
	}
	s := newStream(c, id)
	c.streams[id] = s
	select {
	case c.accepted <- s:
		return nil
	default:
		return fmt.Errorf("%w: it opens streams faster than they are taken", ErrProtocol)
	}
}

// forget drops a stream that is over on both sides.
func (c *Conn) forget(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, s.id)
}
