package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// far is a guest in which servers listen: by port.
func far(t *testing.T, servers map[int]func(*net.TCPConn)) *Client {
	t.Helper()
	addresses := map[int]string{}
	for port, serve := range servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses[port] = l.Addr().String()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serve(c.(*net.TCPConn))
				c.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
	}
	client, _ := start(t, func(ctx context.Context, req Request, s *wire.Stream) (any, error) {
		d, err := Decode[Dial](req)
		if err != nil {
			return nil, err
		}
		conn, err := net.Dial("tcp", addresses[d.Port])
		if err != nil {
			return nil, &Error{Code: CodeState, Message: "nobody listens"}
		}
		return Empty{}, Relay(ctx, s, conn.(*net.TCPConn))
	})
	return client
}

func TestDial(t *testing.T) {
	client := far(t, map[int]func(*net.TCPConn){
		1: func(c *net.TCPConn) { io.Copy(c, c) },
		2: func(c *net.TCPConn) { // says all, then hears
			io.WriteString(c, "greetings")
			c.CloseWrite()
			io.Copy(io.Discard, c)
		},
		3: func(c *net.TCPConn) { // is reset, once there is a connection at both ends
			c.Read(make([]byte, 1))
			c.SetLinger(0)
		},
	})
	echo, err := client.Dial(t.Context(), Dial{Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	go func() {
		echo.Write(big)
		echo.CloseWrite()
	}()
	if got, err := io.ReadAll(echo); err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
	echo.Close()
	half, err := client.Dial(t.Context(), Dial{Port: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(half); err != nil || string(got) != "greetings" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := half.Write([]byte("still here")); err != nil {
		t.Errorf("a server that only listens: %v", err)
	}
	half.Close()
	reset, err := client.Dial(t.Context(), Dial{Port: 3})
	if err != nil {
		t.Fatal(err)
	}
	reset.Write([]byte("x"))
	io.ReadAll(reset)
	reset.Close()
	var refused *Error
	_, err = client.Dial(t.Context(), Dial{Port: 9})
	if !errors.As(err, &refused) || refused.Code != CodeState {
		t.Errorf("if nobody listens: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Dial(gone, Dial{Port: 1}); err == nil {
		t.Error("a call that was given up connects")
	}
}
