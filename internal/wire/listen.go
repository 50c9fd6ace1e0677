package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// errAgain says that a greeting stood where frames were expected.
var errAgain = errors.New("another connection began")

// read looks for greetings, and gives the frames that follow each to its connection.
func (l *Listener) read() {
	r := &scanner{r: bufio.NewReaderSize(l.pipe, maxPayload)}
	err := r.greeting()
	for err == nil {
		err = l.connection(r)
	}
	l.mu.Lock()
	l.err = ended(err)
	l.mu.Unlock()
	close(l.done)
}

// connection serves one connection, and ends without an error at the beginning of the next.
func (l *Listener) connection(r *scanner) error {
	hello := append(magic[:0:0], magic[:]...)
	hello = append(hello, make([]byte, nonceSize)...)
	if _, err := io.ReadFull(r.r, hello[len(magic):]); err != nil {
		return err
	}
	if _, err := l.pipe.Write(hello); err != nil {
		return err
	}
	w := &writer{pipe: l.pipe}
	c := newConn(false, w.frame, nil)
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		select {
		case l.ready <- c:
		case <-c.done:
		case <-l.done:
		}
	}()
	err := r.frames(c)
	broken := errors.Is(err, ErrProtocol)
	if err == errAgain {
		c.fail(ErrClosed)
	} else if broken {
		c.fail(err)
	} else {
		c.fail(ended(err))
	}
	<-taken
	switch {
	case err == errAgain:
		return nil
	case broken:
		// What follows is noise, up to the next greeting. So is the beginning of a greeting, read as a header.
		return r.greeting()
	}
	return err
}

// scanner reads frames, and sees a greeting wherever it begins.
type scanner struct {
	r       *bufio.Reader
	matched int // how much of the magic number the last bytes were
}

// greeting reads up to the end of the next magic number, which may have begun in what was taken for a frame.
func (s *scanner) greeting() error {
	for {
		b, err := s.r.ReadByte()
		if err != nil {
			return err
		}
		if _, found := s.watch([]byte{b}); found {
			return nil
		}
	}
}

func (s *scanner) frames(c *Conn) error {
	payload := make([]byte, maxPayload)
	var head [headerSize]byte
	for {
		if err := s.full(head[:]); err != nil {
			return err
		}
		h, err := readHeader(head[:])
		if err != nil {
			return err
		}
		if err := s.full(payload[:h.length]); err != nil {
			return err
		}
		if err := c.receive(h, payload[:h.length]); err != nil {
			return err
		}
	}
}

// full fills b, or gives errAgain when the magic number was read.
func (s *scanner) full(b []byte) error {
	for len(b) > 0 {
		n, err := s.r.Read(b)
		if rest, found := s.watch(b[:n]); found {
			// What was read beyond it belongs to the next connection.
			return s.unread(rest)
		}
		b = b[n:]
		if err != nil && len(b) > 0 {
			return err
		}
	}
	return nil
}

// watch looks for the magic number across calls. It gives what follows it.
func (s *scanner) watch(b []byte) (rest []byte, found bool) {
	for i := 0; i < len(b); i++ {
		if s.matched == 0 {
			// No byte of the magic number is like its first.
			next := bytes.IndexByte(b[i:], magic[0])
			if next < 0 {
				return nil, false
			}
			i += next
		}
		switch b[i] {
		case magic[s.matched]:
			s.matched++
		case magic[0]:
			s.matched = 1
		default:
			s.matched = 0
		}
		if s.matched == len(magic) {
			s.matched = 0
			return b[i+1:], true
		}
	}
	return nil, false
}

// unread puts bytes back in front of the reader.
func (s *scanner) unread(rest []byte) error {
	s.r = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(append([]byte(nil), rest...)), s.r), maxPayload)
	return errAgain
}
