package wire

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// magic begins each greeting. It stands nowhere else in what the asking side sends (see apart).
var magic = [16]byte{0xf5, 'p', 'y', 'r', 'o', 0x00, 'w', 'i', 'r', 'e', 0xff, 0x01, 0x9e, 0x37, 0x79, 0xb9}

const nonceSize = 16

// header is a frame's, read.
type header struct {
	kind   uint8
	stream uint32
	length int
}

func putHeader(b []byte, kind uint8, stream uint32, length int) {
	b[0], b[1], b[2], b[3] = kind, 0, 0, 0
	binary.BigEndian.PutUint32(b[4:], stream)
	binary.BigEndian.PutUint32(b[8:], uint32(length))
}

func readHeader(b []byte) (header, error) {
	h := header{kind: b[0], stream: binary.BigEndian.Uint32(b[4:])}
	n := binary.BigEndian.Uint32(b[8:])
	if n > maxPayload {
		return h, fmt.Errorf("%w: a frame of %d bytes, over the limit of %d", ErrProtocol, n, maxPayload)
	}
	h.length = int(n)
	return h, nil
}

// Options is for what may come to be chosen; its zero value is the only one yet.
type Options struct{}

// Dial greets the other side and waits for its answer. Whoever tires of waiting closes the pipe. The connection
// owns the pipe from then on.
func Dial(pipe io.ReadWriteCloser, _ Options) (*Conn, error) {
	hello := append(magic[:0:0], magic[:]...)
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	if _, err := pipe.Write(append(hello, nonce...)); err != nil {
		return nil, fmt.Errorf("cannot greet: %w", err)
	}
	r := bufio.NewReaderSize(pipe, maxPayload)
	// What comes before the answer was meant for whoever was connected before.
	if err := find(r, append(hello, nonce...), 64<<20); err != nil {
		return nil, fmt.Errorf("no answer to the greeting: %w", err)
	}
	w := &writer{pipe: pipe}
	c := newConn(true, w.frame, pipe)
	go func() { c.fail(c.readPlain(r)) }()
	return c, nil
}

// readPlain reads frames from a side that does not greet again.
func (c *Conn) readPlain(r *bufio.Reader) error {
	var head [headerSize]byte
	payload := make([]byte, maxPayload)
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return ended(err)
		}
		h, err := readHeader(head[:])
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(r, payload[:h.length]); err != nil {
			return ended(err)
		}
		if err := c.receive(h, payload[:h.length]); err != nil {
			return err
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return ErrClosed
	}
	return fmt.Errorf("cannot read from the pipe: %w", err)
}

// find reads up to and including a pattern, at most limit bytes.
func find(r io.ByteReader, pattern []byte, limit int) error {
	matched := 0
	for range limit {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		// All bytes of magic's first place are unlike the rest, so that a mismatch restarts at most one byte in.
		switch {
		case b == pattern[matched]:
			matched++
		case b == pattern[0]:
			matched = 1
		default:
			matched = 0
		}
		if matched == len(pattern) {
			return nil
		}
	}
	return errors.New("too much was sent before it")
}

// writer writes each frame in one call, so that the other side is woken once.
type writer struct {
	pipe io.Writer
	buf  []byte
}

func (w *writer) frame(head, payload []byte) error {
	w.buf = append(append(w.buf[:0], head...), payload...)
	_, err := w.pipe.Write(w.buf)
	return err
}

// apart gives how much of data may be one frame's payload so that the magic number stands nowhere in the frame: it
// is cut in the middle where data has it, and a length never looks like its beginning.
func apart(data []byte) int {
	n := len(data)
	if at := bytes.Index(data, magic[:]); at >= 0 {
		n = at + 1
	}
	if low := uint16(n); uint8(low) == magic[0] || low == uint16(magic[0])<<8|uint16(magic[1]) {
		n--
	}
	return n
}

// Listener answers greetings on a pipe that outlives its connections, such as a guest's serial port.
type Listener struct {
	pipe  io.ReadWriteCloser
	ready chan *Conn
	done  chan struct{}

	mu  sync.Mutex
	err error
}

// Listen starts to look for greetings.
func Listen(pipe io.ReadWriteCloser, _ Options) *Listener {
	l := &Listener{pipe: pipe, ready: make(chan *Conn), done: make(chan struct{})}
	go l.read()
	return l
}

// Accept waits for the next connection. The one before is over by then, and its streams with it.
func (l *Listener) Accept() (*Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		l.mu.Lock()
		defer l.mu.Unlock()
		return nil, l.err
	}
}

// Close closes the pipe, and with it the connection that there is.
func (l *Listener) Close() error { return l.pipe.Close() }

// Serve answers the one greeting that a socket brings. The connection owns the pipe.
func Serve(pipe io.ReadWriteCloser, o Options) (*Conn, error) {
	l := Listen(pipe, o)
	c, err := l.Accept()
	if err != nil {
		pipe.Close()
		return nil, err
	}
	c.mu.Lock()
	c.pipe = pipe
	c.mu.Unlock()
	return c, nil
}
