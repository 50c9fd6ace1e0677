package wire

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/socketpair/socketpairtest"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns both ends of a connection.
func pair(t testing.TB, o Options) (ask, answer *Conn) {
	t.Helper()
	a, b := socketpairtest.Conns(t)
	type served struct {
		c   *Conn
		err error
	}
	ch := make(chan served, 1)
	go func() {
		c, err := Serve(b, o)
		ch <- served{c, err}
	}()
	ask, err := Dial(a, o)
	if err != nil {
		t.Fatal(err)
	}
	s := <-ch
	if s.err != nil {
		t.Fatal(s.err)
	}
	t.Cleanup(func() { ask.Close(); s.c.Close() })
	return ask, s.c
}

// streams opens one stream and returns both ends.
func streams(t testing.TB, ask, answer *Conn) (host, guest *Stream) {
	t.Helper()
	host, err := ask.Open()
	if err != nil {
		t.Fatal(err)
	}
	if guest, err = answer.Accept(); err != nil {
		t.Fatal(err)
	}
	return host, guest
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ask, answer := pair(t, Options{Window: 16 << 10, MaxPayload: 1 << 10, MaxControl: 8 << 10})
		defer ask.Close()
		defer answer.Close()
		host, guest := streams(t, ask, answer)
		type sent struct {
			kind uint8
			data []byte
		}
		word := rapid.OneOf(rapid.Just([]byte(magicAsk)), rapid.Just([]byte(magicAnswer)),
			rapid.SliceOfN(rapid.Byte(), 0, 3000), rapid.Just(bytes.Repeat([]byte(magicAsk[:8]), 9)))
		messages := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) sent {
			data := bytes.Join(rapid.SliceOfN(word, 0, 2).Draw(rt, "words"), nil)
			return sent{rapid.SampledFrom([]uint8{1, 2, 15}).Draw(rt, "kind"), data}
		}), 0, 20).Draw(rt, "messages")
		from, to := host, guest
		if rapid.Bool().Draw(rt, "answer") {
			from, to = guest, host
		}
		go func() {
			for _, m := range messages {
				from.Send(m.kind, m.data)
			}
			from.CloseSend()
		}()
		// Pieces of raw messages are joined: only the order of bytes and kinds is promised.
		join := func(list []sent) (out []sent) {
			for _, m := range list {
				if n := len(out); n > 0 && m.kind != Control && out[n-1].kind == m.kind {
					out[n-1].data = append(out[n-1].data, m.data...)
				} else {
					out = append(out, sent{m.kind, bytes.Clone(m.data)})
				}
			}
			return out
		}
		var got []sent
		for {
			m, err := to.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, sent{m.Kind, m.Data})
		}
		want := join(messages)
		got = join(got)
		if len(got) != len(want) {
			rt.Fatalf("%d messages, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i].kind != want[i].kind || !bytes.Equal(got[i].data, want[i].data) {
				rt.Fatalf("message %d differs", i)
			}
		}
	})
}

func TestManyStreamsEcho(t *testing.T) {
	ask, answer := pair(t, Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			s, err := answer.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer s.Close()
				for {
					m, err := s.Recv()
					if err != nil {
						s.CloseSend()
						return
					}
					s.Send(m.Kind, m.Data)
				}
			})
		}
	})
	var clients sync.WaitGroup
	for range 50 {
		clients.Go(func() {
			s, err := ask.Open()
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			data := make([]byte, 300<<10)
			rand.Read(data)
			go func() { s.Send(2, data); s.CloseSend() }()
			var got []byte
			for {
				m, err := s.Recv()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, m.Data...)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("echo differs: %d bytes", len(got))
			}
		})
	}
	clients.Wait()
	ask.mu.Lock()
	left := len(ask.streams)
	ask.mu.Unlock()
	if left != 0 {
		t.Errorf("%d streams left", left)
	}
	ask.Close()
	answer.Close()
	wg.Wait()
}

func TestSlowReaderBoundsTheSender(t *testing.T) {
	o := Options{Window: 64 << 10}
	ask, answer := pair(t, o)
	host, guest := streams(t, ask, answer)
	done := make(chan error, 1)
	go func() { done <- host.Send(2, make([]byte, 10<<20)) }()
	// Another stream goes on while this one waits.
	host2, guest2 := streams(t, ask, answer)
	for range 100 {
		if err := host2.Send(Control, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if _, err := guest2.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	answer.mu.Lock()
	held := 0
	for _, p := range guest.queue {
		held += len(p.data) + frameCost
	}
	answer.mu.Unlock()
	if held > o.Window {
		t.Errorf("%d bytes held", held)
	}
	select {
	case err := <-done:
		t.Fatalf("the sender was not held up: %v", err)
	default:
	}
	guest.Close()
	if err := <-done; !errors.Is(err, ErrReset) {
		t.Errorf("send after reset: %v", err)
	}
}

func TestCloseRecvDoesNotHoldUpThePeer(t *testing.T) {
	ask, answer := pair(t, Options{})
	host, guest := streams(t, ask, answer)
	host.Send(2, []byte("x"))
	guest.CloseRecv()
	if _, err := guest.Recv(); err != ErrClosed {
		t.Errorf("recv: %v", err)
	}
	if err := host.Send(2, make([]byte, 5<<20)); err != nil {
		t.Fatal(err)
	}
	guest.Send(Control, []byte("bye"))
	guest.CloseSend()
	guest.Close()
	if m, err := host.Recv(); err != nil || string(m.Data) != "bye" {
		t.Errorf("recv: %q, %v", m.Data, err)
	}
	if _, err := host.Recv(); err != io.EOF {
		t.Errorf("recv: %v", err)
	}
	<-host.Broken()
	if err := host.Send(2, nil); !errors.Is(err, ErrReset) {
		t.Errorf("send: %v", err)
	}
}

func TestLimits(t *testing.T) {
	ask, answer := pair(t, Options{MaxStreams: 2})
	host, guest := streams(t, ask, answer)
	if err := host.Send(Control, make([]byte, 4<<20+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("control of more than 1 MiB: %v", err)
	}
	if err := host.Send(16, nil); err == nil {
		t.Error("kind 16 was sent")
	}
	go host.Send(Control, make([]byte, 4<<20))
	if m, err := guest.Recv(); err != nil || len(m.Data) != 4<<20 {
		t.Errorf("control of 1 MiB: %d bytes, %v", len(m.Data), err)
	}
	if _, err := ask.Open(); err != nil {
		t.Error(err)
	}
	if _, err := ask.Open(); !errors.Is(err, ErrTooMany) {
		t.Errorf("third stream: %v", err)
	}
	if _, err := answer.Open(); err == nil {
		t.Error("the answering side opened a stream")
	}
}

func TestCloseDeliversWhatWasSent(t *testing.T) {
	ask, answer := pair(t, Options{})
	host, guest := streams(t, ask, answer)
	guest.Send(2, make([]byte, 100<<10))
	guest.Send(Control, []byte("last"))
	answer.Close()
	<-ask.Done()
	var last []byte
	for {
		m, err := host.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("end: %v", err)
			}
			break
		}
		last = m.Data
	}
	if string(last) != "last" {
		t.Errorf("last message: %q", last)
	}
	if _, err := ask.Open(); err == nil {
		t.Error("opened a stream on a dead connection")
	}
	if err := guest.Send(2, nil); err != ErrClosed {
		t.Errorf("send: %v", err)
	}
}

// TestDeathInTheMiddle kills the asking side after each number of bytes of a conversation, and dials again
// over the same pipe.
func TestDeathInTheMiddle(t *testing.T) {
	far, near := socketpairtest.Conns(t)
	l := Listen(near, Options{})
	defer l.Close()
	stale := append([]byte(magicAsk), make([]byte, nonceSize)...)
	stale = header{kind: frameOpen, stream: 1}.append(stale)
	stale = append(stale, 0)
	stale = header{kind: 2, stream: 1, length: 40}.append(stale)
	stale = append(stale, make([]byte, 41)...)
	stale = append(stale, magicAsk...)
	stale = append(stale, "half a nonc"...)
	for cut := range len(stale) {
		if _, err := far.Write(stale[:cut]); err != nil {
			t.Fatal(err)
		}
		ask, err := Dial(keepOpen{far}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := ask.Open()
		if err != nil {
			t.Fatal(err)
		}
		var answer *Conn
		var got *Stream
		for got == nil { // Accept may hand out a connection that is replaced already
			if answer, err = l.Accept(); err != nil {
				t.Fatal(err)
			}
			s.Send(2, []byte("ping"))
			if got, err = answer.Accept(); err != nil || len(answer.Done()) > 0 {
				got = nil
				continue
			}
			if m, err := got.Recv(); err != nil || string(m.Data) != "ping" {
				got = nil
			}
		}
		got.Send(2, []byte("pong"))
		if m, err := s.Recv(); err != nil || string(m.Data) != "pong" {
			t.Fatalf("cut at %d: %q, %v", cut, m.Data, err)
		}
		ask.closeForTest()
		far.SetReadDeadline(time.Time{})
	}
}

// keepOpen is a pipe that outlives a connection.
type keepOpen struct{ net.Conn }

func (k keepOpen) Close() error { return k.SetReadDeadline(time.Unix(1, 0)) }

func (c *Conn) closeForTest() {
	c.fail(ErrClosed)
	<-c.readDone
	<-c.writeDone
}

// A stream of which there may be many holds less unread, and carries as much.
func TestSmallStreams(t *testing.T) {
	ask, answer := pair(t, Options{})
	s, err := ask.OpenSmall()
	if err != nil {
		t.Fatal(err)
	}
	other, err := answer.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if want := ask.opts.smallWindow(); s.credit != want || other.allowed != want || want >= ask.opts.Window {
		t.Errorf("windows of %d and %d, not %d", s.credit, other.allowed, want)
	}
	const size = 1 << 20
	go func() {
		s.Send(5, make([]byte, size))
		s.CloseSend()
	}()
	n := 0
	for {
		m, err := other.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(m.Data)
	}
	if n != size {
		t.Errorf("%d bytes, not %d", n, size)
	}
	s.Close()
	other.Close()
}
