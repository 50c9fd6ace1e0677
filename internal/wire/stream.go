package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Stream is one conversation. Send, Recv and the Close methods may be called from different goroutines; at
// most one may be in Recv. Whoever has a stream must Close it.
type Stream struct {
	c      *Conn
	id     uint32
	sendMu sync.Mutex // keeps the pieces of a message together
	broken chan struct{}

	// What follows belongs to the connection's lock.
	readable sync.Cond
	writable sync.Cond
	window   int
	credit   int // what this side may send
	allowed  int // what the peer may send
	owed     int // what was received and not yet given back
	queue    []piece
	sentEnd  bool
	gotEnd   bool
	deaf     bool  // CloseRecv was called
	closed   bool  // Close was called
	err      error // why the stream is dead
}

// piece is one frame's worth of a message.
type piece struct {
	kind uint8
	more bool
	data []byte
}

// newStream must be called with the connection's lock held.
func newStream(c *Conn, id uint32, window int) *Stream {
	s := &Stream{
		c:       c,
		id:      id,
		broken:  make(chan struct{}),
		window:  window,
		credit:  window,
		allowed: window,
	}
	s.readable.L, s.writable.L = &c.mu, &c.mu
	c.streams[id] = s
	return s
}

// Broken is closed when the stream was reset by the peer, closed here, or lost with its connection.
func (s *Stream) Broken() <-chan struct{} { return s.broken }

// Err tells why the stream is over, nil while Broken is open: [ErrReset] if the peer closed it, [ErrClosed]
// if this side did, else what became of its connection.
func (s *Stream) Err() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.err
}

// Send sends one message, and waits for credit. A control message arrives whole and must not be longer than
// Options.MaxControl; other messages may arrive in pieces.
func (s *Stream) Send(kind uint8, data []byte) error {
	if kind == 0 || kind > MaxKind {
		return fmt.Errorf("cannot send a message of kind %d", kind)
	}
	if kind == Control && len(data) > s.c.opts.MaxControl {
		return fmt.Errorf("cannot send a control message of %d bytes: %w", len(data), ErrTooLarge)
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	for {
		n, err := s.sendPiece(kind, data)
		if err != nil {
			return err
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}

// sendPiece sends as much of data as one frame may hold.
func (s *Stream) sendPiece(kind uint8, data []byte) (int, error) {
	c := s.c
	n := min(len(data), c.opts.MaxPayload)
	if c.asking {
		if i := bytes.Index(data[:n], []byte(magicAsk)); i >= 0 {
			n = i + len(magicAsk)/2
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.waitTurn(min(n, minPiece) + frameCost); err != nil {
		return 0, err
	}
	n = min(n, s.credit-frameCost)
	s.credit -= n + frameCost
	h := header{kind: kind, stream: s.id}
	if kind == Control && n < len(data) {
		h.flags = flagMore
	}
	c.send(h, data[:n])
	return n, nil
}

// waitTurn waits for credit, then in line for room in the connection's buffer.
func (s *Stream) waitTurn(need int) error {
	c, inLine := s.c, false
	for {
		err := s.sendState()
		ready := s.credit >= need
		if err == nil && ready && !inLine {
			c.turns = append(c.turns, s)
			inLine = true
		}
		if err != nil || inLine && c.turns[0] == s && len(c.out) < outLimit {
			if i := slices.Index(c.turns, s); i >= 0 {
				c.turns = slices.Delete(c.turns, i, i+1)
			}
			if len(c.turns) > 0 {
				c.turns[0].writable.Signal()
			}
			return err
		}
		s.writable.Wait()
	}
}

func (s *Stream) sendState() error {
	switch {
	case s.err != nil:
		return s.err
	case s.sentEnd || s.closed:
		return ErrClosed
	}
	return s.c.state()
}

// Recv waits for the next message. It returns io.EOF after the peer's CloseSend. Messages that came before a
// reset or the loss of the connection are still received.
func (s *Stream) Recv() (Message, error) {
	m, err := s.recv()
	if errors.Is(err, ErrProtocol) {
		s.c.fail(err)
	}
	return m, err
}

func (s *Stream) recv() (Message, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	first, err := s.next()
	if err != nil || !first.more {
		return Message{first.kind, first.data}, err
	}
	whole := first.data
	for more := true; more; {
		p, err := s.next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return Message{}, err
		}
		if p.kind != Control || first.kind != Control || len(whole)+len(p.data) > s.c.opts.MaxControl {
			return Message{}, violation("unending message on stream %d", s.id)
		}
		whole, more = append(whole, p.data...), p.more
	}
	return Message{first.kind, whole}, nil
}

// next takes a piece from the queue and gives its credit back.
func (s *Stream) next() (piece, error) {
	for len(s.queue) == 0 || s.deaf {
		switch {
		case s.closed || s.deaf:
			return piece{}, ErrClosed
		case s.gotEnd:
			return piece{}, io.EOF
		case s.err != nil:
			return piece{}, s.err
		}
		if err := s.c.state(); err != nil {
			return piece{}, err
		}
		s.readable.Wait()
	}
	p := s.queue[0]
	s.queue[0] = piece{}
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.giveBack(len(p.data) + frameCost)
	return p, nil
}

// giveBack returns credit to the peer, in large steps.
func (s *Stream) giveBack(n int) {
	s.owed += n
	if s.owed < s.window/4 || s.gotEnd || s.err != nil {
		return
	}
	s.c.send(header{kind: frameCredit, stream: s.id}, binary.LittleEndian.AppendUint32(nil, uint32(s.owed)))
	s.allowed += s.owed
	s.owed = 0
}

func (s *Stream) deliver(p piece) {
	if s.deaf {
		s.giveBack(len(p.data) + frameCost)
		return
	}
	s.queue = append(s.queue, p)
	s.readable.Signal()
}

// CloseSend tells the peer that no more messages follow, and waits until all that was sent has gone into the
// pipe.
func (s *Stream) CloseSend() error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.sentEnd {
		return nil
	}
	if err := s.sendState(); err != nil {
		return err
	}
	s.sentEnd = true
	c.send(header{kind: frameEnd, stream: s.id}, nil)
	if s.gotEnd {
		s.forget()
	}
	for here := c.queued; c.written < here && !s.closed; {
		if c.err != nil {
			return c.err
		}
		c.flushed.Wait()
	}
	return nil
}

// CloseRecv ends Recv: what has come and what still comes is dropped. The peer is not told, and is not held
// up.
func (s *Stream) CloseRecv() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.deaf {
		return
	}
	s.deaf = true
	for _, p := range s.queue {
		s.giveBack(len(p.data) + frameCost)
	}
	s.queue = nil
	s.readable.Broadcast()
}

// Close ends the stream. If one of the directions has not ended yet the peer gets [ErrReset], after the
// messages that were sent before.
func (s *Stream) Close() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed, s.queue = true, nil
	if s.err == nil && !(s.sentEnd && s.gotEnd) {
		s.c.send(header{kind: frameReset, stream: s.id}, nil)
	}
	s.kill(ErrClosed)
	return nil
}

// kill ends both directions.
func (s *Stream) kill(err error) {
	if s.err == nil {
		s.err = err
		close(s.broken)
	}
	s.forget()
}

// forget drops a stream that is over.
func (s *Stream) forget() {
	if s.c.streams[s.id] == s {
		delete(s.c.streams, s.id)
	}
	s.wakeAll()
}

func (s *Stream) wakeAll() {
	s.readable.Broadcast()
	s.writable.Broadcast()
	s.c.flushed.Broadcast()
}
