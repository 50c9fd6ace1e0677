package wire

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair gives two ends of a socket, as real as those that pyro uses.
func pair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]net.Conn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		t.Cleanup(func() { ends[i].Close() })
	}
	return ends[0], ends[1]
}

func connect(t testing.TB) (asking, answering *Conn) {
	t.Helper()
	a, b := pair(t)
	done := make(chan error, 1)
	go func() {
		var err error
		answering, err = Serve(b, Options{})
		done <- err
	}()
	asking, err := Dial(a, Options{})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { asking.Close(); answering.Close() })
	return asking, answering
}

// echo sends every message back.
func echo(c *Conn) {
	for {
		s, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			for {
				m, err := s.Recv()
				if err != nil {
					s.CloseSend()
					return
				}
				if s.Send(m.Kind, m.Data) != nil {
					return
				}
			}
		}()
	}
}

func TestMessagesComeBackWhole(t *testing.T) {
	asking, answering := connect(t)
	go echo(answering)
	rapid.Check(t, func(t *rapid.T) {
		s, err := asking.Open()
		if err != nil {
			t.Fatal(err)
		}
		var sent, got []byte
		kinds := rapid.SliceOfN(rapid.Uint8Range(1, maxKind), 1, 8).Draw(t, "kinds")
		done := make(chan error, 1)
		messages := make([][]byte, len(kinds))
		for i := range kinds {
			size := rapid.SampledFrom([]int{0, 1, 15, 16, 0xf5, 0xf570, maxPayload, maxPayload + 1, 3 * window}).Draw(t, "size")
			messages[i] = bytes.Repeat(magic[:], size/16+2)[rapid.IntRange(0, 15).Draw(t, "shift"):][:size]
			sent = append(sent, messages[i]...)
		}
		go func() {
			var err error
			for i, kind := range kinds {
				err = errors.Join(err, s.Send(kind, messages[i]))
			}
			done <- errors.Join(err, s.CloseSend())
		}()
		for {
			m, err := s.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Data...)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(sent) != sha256.Sum256(got) {
			t.Fatalf("sent %d bytes, got %d others", len(sent), len(got))
		}
	})
}

func TestAReaderThatDoesNotReadHoldsTheSenderBack(t *testing.T) {
	asking, answering := connect(t)
	s, err := asking.Open()
	if err != nil {
		t.Fatal(err)
	}
	far, err := answering.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var sent sync.WaitGroup
	sent.Go(func() { s.Send(2, make([]byte, 8*window)) })
	other, err := asking.Open()
	if err != nil {
		t.Fatal(err)
	}
	// Another stream is not held back, and shows that the first one's window is used up by then.
	farOther, err := answering.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Send(1, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if m, err := farOther.Recv(); err != nil || string(m.Data) != "hello" {
		t.Fatal(m, err)
	}
	far.mu.Lock()
	queued := far.queued
	far.mu.Unlock()
	if queued > window {
		t.Fatalf("%d bytes are queued, over the window of %d", queued, window)
	}
	s.Close()
	sent.Wait()
	if _, err := s.Recv(); err == nil {
		t.Fatal("a closed stream gives messages")
	}
}

func TestASecondGreetingBeginsAnew(t *testing.T) {
	var head [headerSize]byte
	putHeader(head[:], 2, 1, 1000)
	for name, left := range map[string][]byte{
		"between frames": {}, "in a header": head[:5], "in a payload": append(head[:], "half a fra"...),
	} {
		t.Run(name, func(t *testing.T) { testSecondGreeting(t, left) })
	}
}

func testSecondGreeting(t *testing.T, left []byte) {
	host, guest := pair(t)
	listener := Listen(guest, Options{})
	defer listener.Close()
	hello := append(append(magic[:0:0], magic[:]...), make([]byte, nonceSize)...)
	if _, err := host.Write(hello); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(host, hello); err != nil {
		t.Fatal(err)
	}
	farFirst, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// The first host dies; the pipe lives on.
	if _, err := host.Write(left); err != nil {
		t.Fatal(err)
	}
	second, err := Dial(host, Options{})
	if err != nil {
		t.Fatal(err)
	}
	<-farFirst.Done()
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go echo(far)
	s, err := second.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(1, []byte("again")); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err != nil || string(m.Data) != "again" {
		t.Fatal(m, err)
	}
	second.Close()
	<-far.Done()
}

func TestUnknownFramesAreSkippedAndWrongOnesEndTheConnection(t *testing.T) {
	for _, test := range []struct {
		name   string
		kind   uint8
		stream uint32
		length int
		lives  bool
	}{
		{"grease", 0x77, 0, 100, true},
		{"a message for no stream", 2, 99, 100, true},
		{"too long", 2, 1, maxPayload + 1, false},
		{"the same stream again", frameOpen, 1, 0, false},
		{"too much credit", frameCredit, 1, 4, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			asking, answering := connect(t)
			s, err := asking.Open()
			if err != nil {
				t.Fatal(err)
			}
			go echo(answering)
			var head [headerSize]byte
			putHeader(head[:], test.kind, test.stream, test.length)
			asking.write.Lock()
			asking.output(head[:], bytes.Repeat([]byte{0xff}, test.length))
			asking.write.Unlock()
			s.Send(1, []byte("x"))
			_, err = s.Recv()
			if lives := err == nil; lives != test.lives {
				t.Fatalf("lives is %v, not %v: %v", lives, test.lives, err)
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	var head [headerSize]byte
	putHeader(head[:], frameOpen, 1, 0)
	f.Add(append([]byte(nil), head[:]...))
	putHeader(head[:], 2, 1, 3)
	f.Add(append(append([]byte(nil), head[:]...), "abc"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		host, guest := net.Pipe()
		l := Listen(guest, Options{})
		go io.Copy(io.Discard, host)
		go func() {
			host.Write(append(append(magic[:0:0], magic[:]...), make([]byte, nonceSize)...))
			host.Write(data)
			host.Close()
		}()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echo(c)
			<-c.Done()
		}
	})
}

func BenchmarkThroughput(b *testing.B) {
	asking, answering := connect(b)
	s, err := asking.Open()
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		far, err := answering.Accept()
		data := make([]byte, maxPayload)
		for err == nil {
			err = far.Send(3, data)
		}
	}()
	b.SetBytes(maxPayload)
	n := 0
	for b.Loop() {
		for n < maxPayload {
			m, err := s.Recv()
			if err != nil {
				b.Fatal(err)
			}
			n += len(m.Data)
		}
		n -= maxPayload
	}
}
