package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
)

// Dial greets the other side and waits for its answer, however long that takes: a caller that gives up closes
// rw. The Conn owns rw.
func Dial(rw io.ReadWriteCloser, o Options) (*Conn, error) {
	// The nonce tells answers apart and keeps no secret: crypto/rand would be a twentieth of the guest's
	// agent.
	nonce := binary.LittleEndian.AppendUint64(nil, rand.Uint64())
	nonce = binary.LittleEndian.AppendUint64(nonce, rand.Uint64())
	if _, err := rw.Write(append([]byte(magicAsk), nonce...)); err != nil {
		return nil, fmt.Errorf("cannot greet the other side: %w", err)
	}
	answer := finder{pattern: append([]byte(magicAnswer), nonce...)}
	buf := make([]byte, readSize)
	for {
		n, err := rw.Read(buf)
		if end := answer.find(buf[:n]); end >= 0 {
			c := newConn(o.withDefaults(), true, writeAll(rw), func() { rw.Close() })
			go c.writeLoop()
			go c.readLoop(rw, append([]byte(nil), buf[end:n]...))
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("no answer to the greeting: %w", err)
		}
	}
}

// Serve is the answering side on a pipe that ends with its connection, as a socket does. It waits for the
// greeting, however long that takes. The Conn owns rw.
func Serve(rw io.ReadWriteCloser, o Options) (*Conn, error) {
	l := listen(rw, o, true)
	c, err := l.Accept()
	if err != nil {
		l.Close()
	}
	return c, err
}

// Listener is the answering side on a pipe that outlives its connections.
type Listener struct {
	rw       io.ReadWriteCloser
	opts     Options
	once     bool // one connection only, which owns the pipe
	readDone chan struct{}
	writeMu  sync.Mutex // held by the connection that writes

	greeting finder
	greeted  bool
	nonce    []byte // what has come of a nonce, nil when none is awaited
	conn     *Conn  // of the reading goroutine

	mu      sync.Mutex
	changed sync.Cond
	pending *Conn
	current *Conn
	err     error
}

// Listen answers every greeting on rw. The Listener owns rw.
func Listen(rw io.ReadWriteCloser, o Options) *Listener { return listen(rw, o, false) }

func listen(rw io.ReadWriteCloser, o Options, once bool) *Listener {
	l := &Listener{
		rw:       rw,
		opts:     o.withDefaults(),
		once:     once,
		readDone: make(chan struct{}),
		greeting: finder{pattern: []byte(magicAsk)},
	}
	l.changed.L = &l.mu
	go l.readLoop()
	return l
}

// Accept waits for the next connection. The one before it is over by then.
func (l *Listener) Accept() (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.pending == nil && l.err == nil {
		l.changed.Wait()
	}
	if c := l.pending; c != nil {
		l.pending = nil
		return c, nil
	}
	return nil, l.err
}

// Close ends the pipe and the connection on it.
func (l *Listener) Close() error {
	l.end(ErrClosed)
	err := l.rw.Close()
	<-l.readDone
	return err
}

func (l *Listener) end(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	c := l.current
	l.changed.Broadcast()
	l.mu.Unlock()
	if c != nil {
		c.fail(err)
	}
}

func (l *Listener) readLoop() {
	defer close(l.readDone)
	buf := make([]byte, readSize)
	for {
		n, err := l.rw.Read(buf)
		l.consume(buf[:n])
		if err != nil {
			l.end(lost(err))
			return
		}
	}
}

// consume hands bytes to the connection, or a new one if they hold a greeting. The bytes of a greeting
// which came in an earlier chunk have gone to the old connection, which can do no harm: see the package's
// comment.
func (l *Listener) consume(b []byte) {
	for {
		end := l.greeting.find(b)
		if end < 0 {
			l.feed(b)
			return
		}
		l.feed(b[:max(0, end-len(magicAsk))])
		if l.once && l.greeted {
			l.end(violation("second greeting"))
			return
		}
		if l.conn != nil {
			l.conn.fail(ErrReplaced)
			l.conn = nil
		}
		l.greeted = true
		l.nonce = make([]byte, 0, nonceSize)
		b = b[end:]
	}
}

func (l *Listener) feed(b []byte) {
	if l.nonce != nil {
		n := min(nonceSize-len(l.nonce), len(b))
		l.nonce, b = append(l.nonce, b[:n]...), b[n:]
		if len(l.nonce) < nonceSize {
			return
		}
		l.connect()
	}
	if l.conn == nil || len(b) == 0 {
		return
	}
	if err := l.conn.in.consume(b); err != nil {
		l.conn.fail(err)
		l.conn = nil // what follows, up to the next greeting, means nothing
	}
}

// connect answers a greeting. The answer waits for the old connection's last write: it has to be read by the
// peer that greets, since it holds the pipe up.
func (l *Listener) connect() {
	answer := append([]byte(magicAnswer), l.nonce...)
	l.nonce = nil
	var c *Conn
	raw := writeAll(l.rw)
	c = newConn(l.opts, false, func(b []byte) error {
		l.writeMu.Lock()
		defer l.writeMu.Unlock()
		if err := c.Err(); err != nil {
			return err // a successor may have the pipe by now
		}
		return raw(b)
	}, nil)
	if l.once {
		c.hangUp = func() { l.rw.Close() }
	}
	c.readDone = l.readDone
	c.out, c.queued = answer, uint64(len(answer))
	l.mu.Lock()
	l.pending, l.current = c, c
	l.changed.Broadcast()
	l.mu.Unlock()
	l.conn = c
	go c.writeLoop()
}

func writeAll(w io.Writer) func([]byte) error {
	return func(b []byte) error {
		n, err := w.Write(b)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		return err
	}
}
