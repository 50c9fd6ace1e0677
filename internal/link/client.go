package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Client asks the other side of a connection. It is safe for concurrent use.
type Client struct{ conn *wire.Conn }

// NewClient asks over a connection that was dialled.
func NewClient(conn *wire.Conn) *Client { return &Client{conn} }

// Streams are a command's. A nil Stdin is an empty one; what goes to a nil writer is dropped.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Call asks for an operation that carries no data. Where the context ends, so does the operation.
func (c *Client) Call(ctx context.Context, op Op, params, result any) error {
	return c.converse(ctx, op, params, result, nil, nil)
}

// Post asks for an operation and does not wait for its end.
func (c *Client) Post(_ context.Context, op Op, params any) error {
	s, err := c.open(op, params)
	if err != nil {
		return err
	}
	return s.CloseSend()
}

// Exec runs a command. Where the context ends, the command is killed. It returns when the command has ended, even
// where Stdin has not: a read from it may then go on in the background until it gives something.
func (c *Client) Exec(ctx context.Context, e Exec, streams Streams) (ExecResult, error) {
	var result ExecResult
	e.Stdin = streams.Stdin != nil
	send := func(s *wire.Stream) error { return copyIn(s, KindStdin, streams.Stdin) }
	if !e.Stdin {
		send = nil
	}
	err := c.converse(ctx, OpExec, e, &result, send, writers{KindStdout: streams.Stdout, KindStderr: streams.Stderr})
	return result, err
}

// Import sends a tar stream. Where the other side refuses early, r is read no further.
func (c *Client) Import(ctx context.Context, i Import, r io.Reader) (ImportResult, error) {
	var result ImportResult
	err := c.converse(ctx, OpImport, i, &result, func(s *wire.Stream) error { return copyIn(s, KindData, r) }, nil)
	return result, err
}

// Export receives a tar stream.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	return c.converse(ctx, OpExport, Empty{}, nil, nil, writers{KindData: w})
}

// Follow receives output until the other side ends it or the context does.
func (c *Client) Follow(ctx context.Context, op Op, params any, stdout io.Writer) error {
	return c.converse(ctx, op, params, nil, nil, writers{KindStdout: stdout})
}

// writers take the data of each kind; data of other kinds is dropped.
type writers map[uint8]io.Writer

func (c *Client) open(op Op, params any) (*wire.Stream, error) {
	data, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(Request{Op: op, Params: data})
	if err != nil {
		return nil, err
	}
	s, err := c.conn.Open()
	if err != nil {
		return nil, lost(err)
	}
	if err := s.Send(KindControl, request); err != nil {
		s.Close()
		return nil, lost(err)
	}
	return s, nil
}

// converse holds one conversation to its end.
func (c *Client) converse(ctx context.Context, op Op, params, result any, send func(*wire.Stream) error, out writers) error {
	s, err := c.open(op, params)
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	sent := make(chan error, 1)
	go func() {
		if send == nil {
			sent <- s.CloseSend()
			return
		}
		err := send(s)
		if err != nil {
			// Half a stream must not look like a whole one.
			s.Close()
		}
		sent <- err
	}()
	reply, err := receive(s, out)
	if err != nil {
		select {
		case why := <-sent:
			// A source that cannot be read is the cause of what followed.
			if readError := (*sourceError)(nil); errors.As(why, &readError) {
				return readError.error
			}
		default:
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if reply.Error != nil {
		return reply.Error
	}
	if result == nil || len(reply.Result) == 0 {
		return nil
	}
	if err := json.Unmarshal(reply.Result, result); err != nil {
		return fmt.Errorf("the answer to %q cannot be read: %w", op, err)
	}
	return nil
}

// receive takes messages until the reply. A stream that ends without one is a death on the other side.
func receive(s *wire.Stream, out writers) (Reply, error) {
	for {
		m, err := s.Recv()
		if err != nil {
			return Reply{}, lost(err)
		}
		if m.Kind == KindControl {
			var reply Reply
			if err := json.Unmarshal(m.Data, &reply); err != nil {
				return Reply{}, &Error{Code: CodeInternal, Message: "the answer cannot be read: " + err.Error()}
			}
			return reply, nil
		}
		if w := out[m.Kind]; w != nil {
			if _, err := w.Write(m.Data); err != nil {
				return Reply{}, fmt.Errorf("cannot pass the output on: %w", err)
			}
		}
	}
}

// lost says that the other side is gone.
func lost(err error) error {
	return &Error{Code: CodeGuestLost, Message: "the connection was lost: " + err.Error()}
}

// sourceError is an error of the reader whose data was to be sent.
type sourceError struct{ error }

// copyIn sends what a reader gives, and then the end.
func copyIn(s *wire.Stream, kind uint8, r io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := s.Send(kind, buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return s.CloseSend()
		}
		if err != nil {
			return &sourceError{err}
		}
	}
}
