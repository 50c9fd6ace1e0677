package link

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// A request is sent for no longer than its caller waits, also to who does not read any of it.
func TestSendingIsBounded(t *testing.T) {
	asking, answering := net.Pipe()
	accepted := make(chan *wire.Conn, 1)
	go func() {
		c, err := wire.Serve(answering, wire.Options{})
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	conn, err := wire.Dial(asking, wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	far := <-accepted
	defer far.Close()
	defer conn.Close()
	// The far side takes streams and reads nothing from them: more than a window is never sent.
	client, long := NewClient(conn), Exec{Command: strings.Repeat("x", 400<<10)}
	for what, call := range map[string]func(context.Context) error{
		"exec": func(ctx context.Context) error { _, err := client.Exec(ctx, long, Streams{}); return err },
		"call": func(ctx context.Context) error { return client.Call(ctx, OpExec, long, nil) },
		"post": func(ctx context.Context) error { return client.Post(ctx, OpExec, long) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
}
