package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// BenchmarkToHost is TCP from the guest to a server on the host, BenchmarkToGuest the other way. The second
// stack that plays the guest costs about as much as the network itself.
func BenchmarkToHost(b *testing.B) {
	w := newWorld(b)
	w.listen(9, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	conn := newGuest(b, w.config()).mustDial(listed + ":9")
	block := make([]byte, 256<<10)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := conn.Write(block); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToGuest(b *testing.B) {
	w := newWorld(b)
	w.listen(9, func(c *net.TCPConn) {
		block := make([]byte, 256<<10)
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	conn := newGuest(b, w.config()).mustDial(listed + ":9")
	block := make([]byte, 256<<10)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := io.ReadFull(conn, block); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRoundTrip is a byte there and back on an open connection.
func BenchmarkRoundTrip(b *testing.B) {
	w := newWorld(b)
	for name, dial := range map[string]func() net.Conn{
		"network": func() net.Conn { return newGuest(b, w.config()).mustDial(listed + ":7") },
		"direct":  func() net.Conn { return dialHost(b, w.ports[7].String()) },
	} {
		b.Run(name, func(b *testing.B) {
			conn := dial()
			defer conn.Close()
			one := []byte{1}
			for b.Loop() {
				conn.Write(one)
				if _, err := io.ReadFull(conn, one); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRequests is an HTTP request on a connection of its own, and on one that stays open.
func BenchmarkRequests(b *testing.B) {
	w := newWorld(b)
	w.set("www.example.org", listed)
	for _, way := range []string{"direct", "public", "by name"} {
		for _, keep := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s keep=%v", way, keep), func(b *testing.B) {
				dial := func(context.Context, string, string) (net.Conn, error) {
					return net.Dial("tcp", w.ports[80].String())
				}
				if way != "direct" {
					cfg := w.config()
					if way == "by name" {
						cfg.Allow = []string{"www.example.org"}
					}
					g := newGuest(b, cfg)
					g.lookup("www.example.org")
					dial = func(context.Context, string, string) (net.Conn, error) {
						return g.dial(listed + ":80")
					}
				}
				client := &http.Client{Transport: &http.Transport{DialContext: dial,
					DisableKeepAlives: !keep}}
				defer client.CloseIdleConnections()
				for b.Loop() {
					r, err := client.Get("http://www.example.org/")
					if err != nil {
						b.Fatal(err)
					}
					io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}
			})
		}
	}
}

// BenchmarkMemory is what 1,000 open connections cost this process. The guest's side of them is in another
// process, as in life.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(measureOpen(b, 1000))/1000, "bytes/conn")
	}
}

func dialHost(t testing.TB, address string) net.Conn {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
