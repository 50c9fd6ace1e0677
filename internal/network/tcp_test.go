package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/socketpair/socketpairtest"
)

// TestHalfClose lets each side finish first while the other still sends.
func TestHalfClose(t *testing.T) {
	w := newWorld(t)
	w.listen(1, func(c *net.TCPConn) { // hears all, then answers
		all, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%d bytes", len(all))
	})
	got := make(chan int, 1)
	w.listen(2, func(c *net.TCPConn) { // says all, then hears
		io.WriteString(c, "greetings")
		c.CloseWrite()
		all, _ := io.ReadAll(c)
		got <- len(all)
	})
	g := newGuest(t, w.config())
	big := bytes.Repeat([]byte("0123456789abcdef"), 100_000)

	conn := g.mustDial(listed + ":1")
	conn.Write(big)
	conn.CloseWrite()
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "1600000 bytes" {
		t.Errorf("answer %q, %v", answer, err)
	}
	conn.Close()

	conn = g.mustDial(listed + ":2")
	if greeting, err := io.ReadAll(conn); err != nil || string(greeting) != "greetings" {
		t.Errorf("greeting %q, %v", greeting, err)
	}
	conn.Write(big)
	conn.Close()
	if size := <-got; size != len(big) {
		t.Errorf("the server got %d bytes", size)
	}
	eventually(t, "the places are free", func() bool { return g.net.Info().Counters.ConnectionsOpen == 0 })
}

// TestResets passes a reset on in both directions, and a refused and an unreachable destination to the guest.
func TestResets(t *testing.T) {
	w := newWorld(t)
	seen := make(chan error, 1)
	w.listen(1, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		seen <- err
	})
	w.listen(2, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		c.SetLinger(0)
	})
	w.ports[3] = netip.MustParseAddrPort("255.255.255.255:3")
	g := newGuest(t, w.config())

	g.mustDial(listed + ":1").Write([]byte("x"))
	for _, e := range g.stack.RegisteredEndpoints() {
		e.Abort()
	}
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server saw %v", err)
	}
	conn := g.mustDial(listed + ":2")
	conn.Write([]byte("x"))
	if _, err := io.ReadAll(conn); err == nil || outcome(err) != "reset" {
		t.Errorf("the guest saw %v", err)
	}
	if _, err := g.dial(listed + ":9999"); err == nil || outcome(err) != "refused" {
		t.Errorf("a closed port: %v", err)
	}
	if _, err := g.dial(listed + ":3"); err == nil || !strings.Contains(err.Error(), "no route") {
		t.Errorf("an unreachable host: %v", err)
	}
}

// TestServeAgain ends one guest and starts another on the same network: nothing of the first one is left.
func TestServeAgain(t *testing.T) {
	w := newWorld(t)
	ended := make(chan error, 1)
	w.listen(1, func(c *net.TCPConn) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})
	n := newNetwork(t, w.config())
	g := joinGuest(t, n)
	g.mustDial(listed + ":1")
	if _, other := socketpairtest.Conns(t); n.Serve(other) == nil {
		t.Error("two guests at once")
	}
	g.leave()
	if err := <-ended; err == nil {
		t.Error("the connection of the former guest lives on")
	}
	if got := (try{"tcp", listed + ":7", ""}).run(joinGuest(t, n)); got != "ok" {
		t.Errorf("the next guest: %s", got)
	}
}

// TestIdle ends connections on which nothing has moved for long.
func TestIdle(t *testing.T) {
	w := newWorld(t)
	w.listen(1, func(c *net.TCPConn) {
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	g := newGuest(t, w.config())
	idle, half := g.mustDial(listed+":7"), g.mustDial(listed+":1")
	io.ReadAll(half)
	g.net.sweepOnce(time.Now().Add(halfTimeout + time.Second))
	eventually(t, "the half-closed one is gone", func() bool { return g.net.sessions.open() == 1 })
	if got := echoed(idle, g.patience); got != "ok" {
		t.Errorf("the other one: %s", got)
	}
	g.net.sweepOnce(time.Now().Add(idleTimeout + time.Second))
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection lives on")
	}
}

// TestPublish reaches a server in the guest from the host.
func TestPublish(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	cfg.Publish = []string{"0:8080", "127.0.0.1:0:8081"}
	n := newNetwork(t, cfg)
	address := func(i int) string {
		p := n.Info().Published[i]
		return net.JoinHostPort(p.HostIP, fmt.Sprint(p.HostPort))
	}
	if err := readHost(address(0)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("before there is a guest: %v", err)
	}
	g := joinGuest(t, n)
	serveHTTP(t, g, 8080)
	eventually(t, "the guest is there", n.link.isAttached)
	r, err := http.Get("http://" + address(0))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	http.DefaultClient.CloseIdleConnections()
	if string(body) != "from the guest to "+gatewayAddress {
		t.Errorf("got %q", body)
	}
	if err := readHost(address(1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("if nobody listens in the guest: %v", err)
	}

	cfg.Publish = []string{strings.TrimPrefix(address(0), "127.0.0.1:") + ":1"}
	if _, err := New(t.Context(), cfg); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that is taken: %v", err)
	} else if !strings.HasPrefix(err.Error(), "cannot publish on 127.0.0.1:") {
		t.Errorf("a port that is taken: %v", err)
	}
	n.Close()
	other, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatalf("a port that was released: %v", err)
	}
	other.Close()
}

// readHost connects and reads to the end; a reset may come with either.
func readHost(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.ReadAll(conn)
	return err
}

// eventually waits for what happens in another goroutine.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestPublishInside reaches a server that listens on the guest's loopback alone, for which the guest's
// address is closed.
func TestPublishInside(t *testing.T) {
	w := newWorld(t)
	w.listen(1, func(c *net.TCPConn) { // hears all, then answers
		all, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%d bytes", len(all))
	})
	w.listen(2, func(c *net.TCPConn) { // says all, then hears
		io.WriteString(c, "greetings")
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	cfg := w.config()
	cfg.Inbound = true
	cfg.Publish = []string{"0:1", "0:2", "0:3", "0:8080"}
	cfg.Inside = func(ctx context.Context, port int) (Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", w.ports[uint16(port)].String())
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	}
	n := newNetwork(t, cfg)
	g := joinGuest(t, n)
	serveHTTP(t, g, 8080)
	eventually(t, "the guest is there", n.link.isAttached)
	dial := func(i int) *net.TCPConn {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", n.Info().Published[i].HostPort))
		if err != nil {
			t.Fatal(err)
		}
		return conn.(*net.TCPConn)
	}
	conn := dial(0)
	conn.Write(bytes.Repeat([]byte("0123456789abcdef"), 100_000))
	conn.CloseWrite()
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "1600000 bytes" {
		t.Errorf("answer %q, %v", answer, err)
	}
	conn.Close()
	conn = dial(1)
	if greeting, err := io.ReadAll(conn); err != nil || string(greeting) != "greetings" {
		t.Errorf("greeting %q, %v", greeting, err)
	}
	conn.Close()
	closed := fmt.Sprint("127.0.0.1:", n.Info().Published[2].HostPort)
	if err := readHost(closed); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("if nobody listens: %v", err)
	}
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d", n.Info().Published[3].HostPort))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "the places are free", func() bool { return len(n.insides) == 0 })
	hanging := dial(1) // Close does not wait for it
	n.Close()
	if _, err := io.ReadAll(hanging); err == nil {
		io.ReadAll(hanging)
	}
	hanging.Close()
}
