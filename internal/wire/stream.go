package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Stream is one conversation of a connection. Send and Recv may run at once, each from one goroutine at a time;
// the rest may be called from any.
type Stream struct {
	conn *Conn
	id   uint32

	sending sync.Mutex // one message at a time

	mu      sync.Mutex
	changed sync.Cond
	free    int // of the other side's window
	queue   []part
	queued  int // bytes in queue, headers included, of our window
	taken   int // bytes taken out and not yet given back as credit
	err     error
	broken  chan struct{} // closed when err is set
	gotEnd  bool
	sentEnd bool
}

// part is one frame of a message.
type part struct {
	Message
	more bool
}

func newStream(c *Conn, id uint32) *Stream {
	s := &Stream{conn: c, id: id, free: window, broken: make(chan struct{})}
	s.changed.L = &s.mu
	return s
}

// Send sends a message, and waits where the other side's window is used up. Data longer than a frame is split, so
// that it arrives as several messages, unless it is of ControlKind.
func (s *Stream) Send(kind uint8, data []byte) error {
	if kind < 1 || kind > maxKind {
		return fmt.Errorf("%d is not a kind of message", kind)
	}
	if kind == ControlKind && len(data) > maxMessage {
		return fmt.Errorf("a control message of %d bytes is over the limit of %d", len(data), maxMessage)
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	for {
		part := data[:min(len(data), maxPayload)]
		n, err := s.take(part)
		if err != nil {
			return err
		}
		part, data = part[:n], data[n:]
		flags := uint8(0)
		if kind == ControlKind && len(data) > 0 {
			flags = frameMore
		}
		if err := s.conn.send(kind|flags, s.id, part); err != nil {
			return err
		}
		if len(data) == 0 {
			return nil
		}
	}
}

// take waits for credit, and takes what the frame costs that can be sent of data: its header too, so that empty
// frames are not free. It gives how much of data that is.
func (s *Stream) take(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && !s.sentEnd && s.free <= headerSize {
		s.changed.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	if s.sentEnd {
		return 0, io.ErrClosedPipe
	}
	n := apart(data[:min(len(data), s.free-headerSize)])
	s.free -= n + headerSize
	return n, nil
}

// Recv waits for the next message. It gives io.EOF after the other side's CloseSend.
func (s *Stream) Recv() (Message, error) {
	var whole Message
	for {
		p, err := s.next()
		if err != nil {
			if err == io.EOF && whole.Data != nil {
				err = io.ErrUnexpectedEOF
			}
			return Message{}, err
		}
		if whole.Data == nil {
			whole = p.Message
		} else {
			whole.Data = append(whole.Data, p.Data...)
		}
		if p.Kind != whole.Kind || len(whole.Data) > maxMessage {
			err := fmt.Errorf("%w: a message that does not end", ErrProtocol)
			s.conn.fail(err)
			return Message{}, err
		}
		if !p.more {
			return whole, nil
		}
	}
}

// next takes the next frame out, and gives its place in the window back.
func (s *Stream) next() (part, error) {
	s.mu.Lock()
	for len(s.queue) == 0 && s.err == nil && !s.gotEnd {
		s.changed.Wait()
	}
	if len(s.queue) == 0 {
		defer s.mu.Unlock()
		if s.err != nil {
			return part{}, s.err
		}
		return part{}, io.EOF
	}
	p := s.queue[0]
	s.queue[0] = part{}
	s.queue = s.queue[1:]
	cost := len(p.Data) + headerSize
	s.queued -= cost
	credit := 0
	if s.taken += cost; s.taken >= window/4 && s.err == nil && !s.gotEnd {
		credit, s.taken = s.taken, 0
	}
	s.mu.Unlock()
	if credit > 0 {
		// Where this fails the connection is over, which the next call tells.
		_ = s.grant(credit)
	}
	return p, nil
}

func (s *Stream) grant(n int) error {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	return s.conn.send(frameCredit, s.id, b[:])
}

// CloseSend says that nothing more will be sent. What was sent arrives.
func (s *Stream) CloseSend() error {
	s.mu.Lock()
	if s.err != nil || s.sentEnd {
		defer s.mu.Unlock()
		return s.err
	}
	s.sentEnd = true
	over := s.gotEnd
	s.changed.Broadcast()
	s.mu.Unlock()
	err := s.conn.send(frameEnd, s.id, nil)
	if over {
		s.conn.forget(s)
	}
	return err
}

// Close ends the stream both ways at once. What has not arrived is lost. On one that is over it does nothing.
func (s *Stream) Close() error {
	s.mu.Lock()
	over := s.err != nil || s.gotEnd && s.sentEnd
	s.breakOff(io.ErrClosedPipe)
	s.mu.Unlock()
	if over {
		return nil
	}
	s.conn.forget(s)
	return s.conn.send(frameReset, s.id, nil)
}

func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !(s.gotEnd && s.sentEnd) {
		s.breakOff(err)
	}
}

// breakOff ends the stream for a reason, once. The caller holds mu.
func (s *Stream) breakOff(err error) {
	if s.err == nil {
		s.err = err
		close(s.broken)
	}
	s.changed.Broadcast()
}

// Broken is closed when the stream was ended before its time, by either side or with its connection.
func (s *Stream) Broken() <-chan struct{} { return s.broken }

// credit takes note that the other side has taken messages out.
func (s *Stream) credit(payload []byte) error {
	if len(payload) != 4 {
		return fmt.Errorf("%w: a credit of %d bytes", ErrProtocol, len(payload))
	}
	n := binary.BigEndian.Uint32(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > window || s.free+int(n) > window {
		return fmt.Errorf("%w: more credit than was used", ErrProtocol)
	}
	s.free += int(n)
	s.changed.Broadcast()
	return nil
}

func (s *Stream) ended() {
	s.mu.Lock()
	s.gotEnd = true
	over := s.sentEnd
	s.changed.Broadcast()
	s.mu.Unlock()
	if over {
		s.conn.forget(s)
	}
}

// arrived puts a message into the queue.
func (s *Stream) arrived(kind uint8, more bool, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.gotEnd {
		return nil
	}
	s.queued += len(payload) + headerSize
	if s.queued > window {
		return fmt.Errorf("%w: it sends beyond the window", ErrProtocol)
	}
	s.queue = append(s.queue, part{Message{Kind: kind, Data: append([]byte{}, payload...)}, more})
	s.changed.Broadcast()
	return nil
}
