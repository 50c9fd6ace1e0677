package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	outLimit   = 256 << 10       // bytes waiting to be written before senders wait
	readSize   = 128 << 10       // bytes asked of the pipe at a time
	flushLimit = 1 * time.Second // how long Close tries to write what was sent
)

// Conn is one connection. Its methods may be called from many goroutines.
type Conn struct {
	opts   Options
	asking bool
	in     parser
	write  func([]byte) error
	hangUp func() // ends the pipe, for a Conn that owns it

	readDone  chan struct{}
	writeDone chan struct{}
	done      chan struct{}

	mu      sync.Mutex
	wake    sync.Cond // the writer's
	opened  sync.Cond // Accept's
	flushed sync.Cond // of those who wait until what they sent is written
	out     []byte
	queued  uint64    // bytes that ever stood in out
	written uint64    // those of them that were written
	turns   []*Stream // senders that wait for room in out, first come first served
	streams map[uint32]*Stream
	last    uint32 // the last stream opened
	backlog []*Stream
	closing bool
	err     error
}

func newConn(o Options, asking bool, write func([]byte) error, hangUp func()) *Conn {
	c := &Conn{
		opts:      o,
		asking:    asking,
		write:     write,
		hangUp:    hangUp,
		readDone:  make(chan struct{}),
		writeDone: make(chan struct{}),
		done:      make(chan struct{}),
		streams:   make(map[uint32]*Stream),
	}
	c.wake.L, c.opened.L, c.flushed.L = &c.mu, &c.mu, &c.mu
	c.in = parser{limit: o.MaxPayload, begin: c.beginFrame, end: c.endFrame}
	return c
}

// Open begins a stream. Only the side that dialled can.
func (c *Conn) Open() (*Stream, error) { return c.open(0) }

// OpenSmall begins a stream with an eighth of the window, for those of which there may be many.
func (c *Conn) OpenSmall() (*Stream, error) { return c.open(flagSmall) }

func (c *Conn) open(flags uint8) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.state(); err != nil {
		return nil, err
	}
	if !c.asking {
		return nil, fmt.Errorf("cannot open a stream from the answering side")
	}
	if len(c.streams) >= c.opts.MaxStreams || c.last == 1<<32-1 {
		return nil, fmt.Errorf("cannot open a stream: %w", ErrTooMany)
	}
	c.last++
	s := newStream(c, c.last, c.window(flags))
	c.send(header{kind: frameOpen, flags: flags, stream: s.id}, nil)
	return s, nil
}

// Accept waits for the next stream that the peer opens. The caller must Close it.
func (c *Conn) Accept() (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.backlog) == 0 {
		if err := c.state(); err != nil {
			return nil, err
		}
		c.opened.Wait()
	}
	s := c.backlog[0]
	c.backlog[0] = nil
	c.backlog = c.backlog[1:]
	return s, nil
}

// Close writes what was sent, for a second at most, and ends the connection and all its streams. The pipe is
// closed too, unless it belongs to a [Listener].
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closing = true
	c.wake.Signal()
	c.opened.Broadcast()
	for _, s := range c.streams {
		s.wakeAll()
	}
	c.mu.Unlock()

	limit := time.NewTimer(flushLimit)
	defer limit.Stop()
	select {
	case <-c.writeDone:
	case <-c.done:
	case <-limit.C:
	}
	c.fail(ErrClosed)
	if c.hangUp != nil {
		<-c.readDone
		<-c.writeDone
	}
	return nil
}

// Done is closed when the connection is over.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err tells why the connection is over, nil while it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// state must be called with the lock held.
func (c *Conn) state() error {
	if c.err == nil && c.closing {
		return ErrClosed
	}
	return c.err
}

// fail ends the connection. Only the first reason counts.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	for _, s := range c.streams {
		s.kill(err)
	}
	c.out, c.turns = nil, nil
	c.wake.Signal()
	c.opened.Broadcast()
	c.flushed.Broadcast()
	close(c.done)
	c.mu.Unlock()
	if c.hangUp != nil {
		c.hangUp()
	}
}

// send puts a frame in line. The lock must be held, and there must be room for data.
func (c *Conn) send(h header, payload []byte) {
	if c.err != nil {
		return
	}
	h.length = len(payload)
	c.out = h.append(c.out)
	c.out = append(c.out, payload...)
	c.out = append(c.out, 0)
	c.queued += uint64(len(payload) + frameExtra)
	c.wake.Signal()
}

// writeLoop writes what is in line until the connection is over. What gathers while a write is under way goes
// out in one.
func (c *Conn) writeLoop() {
	defer close(c.writeDone)
	var buf []byte
	for {
		c.mu.Lock()
		c.written += uint64(len(buf))
		c.flushed.Broadcast()
		for len(c.out) == 0 && c.err == nil && !c.closing {
			c.wake.Wait()
		}
		if c.err != nil || len(c.out) == 0 {
			c.mu.Unlock()
			return
		}
		buf, c.out = c.out, buf[:0]
		if len(c.turns) > 0 {
			c.turns[0].writable.Signal()
		}
		c.mu.Unlock()
		if err := c.write(buf); err != nil {
			c.fail(fmt.Errorf("cannot write to the other side: %w", err))
			return
		}
	}
}

// readLoop feeds the parser until the pipe ends.
func (c *Conn) readLoop(r io.Reader, rest []byte) {
	defer close(c.readDone)
	err := c.in.consume(rest)
	buf := make([]byte, readSize)
	for err == nil {
		var n int
		n, err = r.Read(buf)
		if n > 0 {
			if bad := c.in.consume(buf[:n]); bad != nil {
				err = bad
			}
		}
	}
	c.fail(lost(err))
}

func lost(err error) error {
	if err == io.EOF {
		return fmt.Errorf("connection lost: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// beginFrame checks a frame against the bounds before there is memory for it.
func (c *Conn) beginFrame(h header) ([]byte, error) {
	switch {
	case h.kind == 0 || h.kind > frameCredit:
		return nil, nil
	case h.kind > MaxKind && h.kind < frameOpen:
		return nil, nil
	case h.kind == frameCredit:
		if h.length != 4 {
			return nil, violation("credit of %d bytes", h.length)
		}
		return make([]byte, 4), nil
	case h.kind > MaxKind:
		if h.length != 0 {
			return nil, violation("frame of kind %d with a payload", h.kind)
		}
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.stream(h.stream)
	if s == nil {
		return nil, err
	}
	if s.gotEnd {
		return nil, violation("message after the end of stream %d", s.id)
	}
	if h.length+frameCost > s.allowed {
		return nil, violation("more than the credit of stream %d", s.id)
	}
	s.allowed -= h.length + frameCost
	return make([]byte, h.length), nil
}

// endFrame acts on a whole frame.
func (c *Conn) endFrame(h header, payload []byte) error {
	if h.kind == 0 || h.kind > frameCredit {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.kind == frameOpen {
		return c.accept(h)
	}
	s, err := c.stream(h.stream)
	if s == nil {
		return err
	}
	switch h.kind {
	case frameEnd:
		s.gotEnd = true
		s.readable.Broadcast()
		if s.sentEnd {
			s.forget()
		}
	case frameReset:
		s.kill(ErrReset)
		c.backlog = slices.DeleteFunc(c.backlog, func(b *Stream) bool { return b == s })
	case frameCredit:
		n := binary.LittleEndian.Uint32(payload)
		if uint64(n)+uint64(s.credit) > uint64(s.window) {
			return violation("credit beyond the window of stream %d", s.id)
		}
		s.credit += int(n)
		s.writable.Broadcast()
	default:
		s.deliver(piece{kind: h.kind, more: h.flags&flagMore != 0, data: payload})
	}
	return nil
}

// stream finds a living stream. One that is over is no error: the peer may not know yet.
func (c *Conn) stream(id uint32) (*Stream, error) {
	s := c.streams[id]
	if s == nil && (id == 0 || id > c.last) {
		return nil, violation("frame for stream %d, which was never opened", id)
	}
	return s, nil
}

// window is that of a stream that was opened with flags.
func (c *Conn) window(flags uint8) int {
	if flags&flagSmall != 0 {
		return c.opts.smallWindow()
	}
	return c.opts.Window
}

func (c *Conn) accept(h header) error {
	switch id := h.stream; {
	case c.err != nil:
		return c.err
	case c.asking:
		return violation("stream opened by the answering side")
	case id <= c.last:
		return violation("stream %d opened after stream %d", id, c.last)
	case len(c.streams) >= c.opts.MaxStreams:
		return violation("more than %d streams", c.opts.MaxStreams)
	}
	c.last = h.stream
	c.backlog = append(c.backlog, newStream(c, h.stream, c.window(h.flags)))
	c.opened.Signal()
	return nil
}
