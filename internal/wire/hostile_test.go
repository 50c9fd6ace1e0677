package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/socketpair/socketpairtest"
)

// raw greets by hand and returns the pipe.
func raw(t *testing.T) (net.Conn, *Conn) {
	t.Helper()
	a, b := socketpairtest.Conns(t)
	greeting := append([]byte("noise"+magicAsk), make([]byte, nonceSize)...)
	if _, err := a.Write(greeting); err != nil {
		t.Fatal(err)
	}
	c, err := Serve(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.ReadFull(a, make([]byte, len(magicAnswer)+nonceSize)); err != nil {
		t.Fatal(err)
	}
	return a, c
}

func frame(h header, payload []byte) []byte {
	h.length = len(payload)
	return append(append(h.append(nil), payload...), 0)
}

func TestGrease(t *testing.T) {
	a, c := raw(t)
	var b []byte
	for kind := range maxFrameKind + 1 {
		if kind == 0 || kind > frameCredit {
			b = append(b, frame(header{kind: uint8(kind), flags: 0xaa, stream: 77}, make([]byte, kind))...)
		}
	}
	b = append(b, frame(header{kind: frameOpen, stream: 5}, nil)...)
	b = append(b, frame(header{kind: 9, flags: 0xf0, stream: 5}, []byte("hello"))...)
	a.Write(b)
	s, err := c.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err != nil || string(m.Data) != "hello" || m.Kind != 9 {
		t.Errorf("%v, %v", m, err)
	}
}

func TestViolations(t *testing.T) {
	open := frame(header{kind: frameOpen, stream: 1}, nil)
	full := frame(header{kind: 2, stream: 1}, make([]byte, 64<<10))
	more := frame(header{kind: Control, flags: flagMore, stream: 1}, make([]byte, 60<<10))
	for name, b := range map[string][]byte{
		"oversized":         header{kind: 2, stream: 1, length: 64<<10 + 1}.append(nil),
		"oversized unknown": header{kind: 99, stream: 1, length: 1 << 24}.append(nil),
		"impossible kind":   header{kind: 0x80}.append(nil),
		"never opened":      frame(header{kind: 2, stream: 9}, nil),
		"stream zero":       frame(header{kind: 2}, nil),
		"opened twice":      append(open, open...),
		"over the window":   append(open, bytes.Repeat(full, 4)...),
		"empty flood": append(open, bytes.Repeat(frame(header{kind: 2, stream: 1}, nil),
			256<<10/frameCost+1)...),
		"after the end":   append(append(open, frame(header{kind: frameEnd, stream: 1}, nil)...), full...),
		"credit":          append(open, frame(header{kind: frameCredit, stream: 1}, []byte{1, 0, 0, 0})...),
		"short credit":    append(open, frame(header{kind: frameCredit, stream: 1}, []byte{1})...),
		"no end of frame": append(frame(header{kind: 99}, []byte("x"))[:headerSize+1], 7),
		"second greeting": []byte(magicAsk),
	} {
		t.Run(name, func(t *testing.T) {
			a, c := raw(t)
			a.Write(b)
			<-c.Done()
			if err := c.Err(); !errors.Is(err, ErrProtocol) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("unending control message", func(t *testing.T) {
		a, c := raw(t)
		a.Write(open)
		s, err := c.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for range 20 {
				a.Write(more)
			}
		}()
		go io.Copy(io.Discard, a)
		if _, err := s.Recv(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%v", err)
		}
	})
	t.Run("too many streams", func(t *testing.T) {
		a, c := raw(t)
		for i := range (Options{}).withDefaults().MaxStreams + 1 {
			a.Write(frame(header{kind: frameOpen, stream: uint32(i + 1)}, nil))
		}
		<-c.Done()
		if err := c.Err(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%v", err)
		}
	})
}

func TestNoAnswer(t *testing.T) {
	a, b := socketpairtest.Conns(t)
	go io.Copy(io.Discard, b)
	b.Write([]byte("a guest that talks nonsense"))
	time.AfterFunc(10*time.Millisecond, func() { a.Close() })
	if _, err := Dial(a, Options{}); err == nil {
		t.Error("dialled without an answer")
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(magicAsk+"0123456789abcdef"), 5)
	f.Add(append(frame(header{kind: frameOpen, stream: 1}, nil),
		frame(header{kind: 1, stream: 1}, []byte("{}"))...), 3)
	f.Add(frame(header{kind: frameCredit, stream: 1}, []byte{255, 255, 255, 255}), 1)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		c := newConn(Options{}.withDefaults(), false, func([]byte) error { return nil }, nil)
		l := &Listener{opts: c.opts, greeting: finder{pattern: []byte(magicAsk)}, rw: nil}
		l.changed.L = &l.mu
		l.rw = discard{}
		l.conn = c
		step = max(1, step%1000)
		for len(b) > 0 {
			n := min(step, len(b))
			l.consume(b[:n])
			b = b[n:]
		}
		for _, s := range c.streams {
			held := 0
			for _, p := range s.queue {
				held += len(p.data) + frameCost
			}
			if held > c.opts.Window {
				t.Fatalf("%d bytes held", held)
			}
		}
		if l.conn != nil {
			l.conn.fail(io.EOF)
		}
	})
}

type discard struct{}

func (discard) Read([]byte) (int, error)    { return 0, io.EOF }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }

func FuzzFinder(f *testing.F) {
	f.Add([]byte("abcabcabd"), []byte("abcabd"), 2)
	f.Fuzz(func(t *testing.T, b, pattern []byte, step int) {
		if len(pattern) < 2 {
			return
		}
		want := bytes.Index(b, pattern)
		if want >= 0 {
			want += len(pattern)
		}
		find := finder{pattern: pattern}
		step = max(1, step%100)
		got := -1
		for at := 0; at < len(b) && got < 0; at += step {
			if end := find.find(b[at:min(len(b), at+step)]); end >= 0 {
				got = at + end
			}
		}
		if got != want {
			t.Fatalf("found at %d, want %d", got, want)
		}
	})
}
