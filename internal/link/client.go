package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Client asks the other side of a connection. Its methods may be called from many goroutines.
type Client struct{ conn *wire.Conn }

// NewClient returns a Client on a connection that was dialled. Closing the connection is the caller's.
func NewClient(c *wire.Conn) *Client { return &Client{c} }

// Conn returns the connection.
func (c *Client) Conn() *wire.Conn { return c.conn }

// Call asks for one operation and decodes its result, if result is not nil.
func (c *Client) Call(ctx context.Context, op Op, params, result any) error {
	return c.converse(ctx, op, params, result, nil, nil)
}

// Streams are the standard streams of a command, on the asking side. A nil Stdin is no input, a nil writer drops
// its output. The two writers are not called at the same time.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exec runs one command and returns when it has ended and all its output is written. The end of ctx, or an error
// of one of the writers, kills the command. Exec does not wait for a Stdin that blocks: such a Read may return
// after Exec, and what it brought is lost.
func (c *Client) Exec(ctx context.Context, e Exec, std Streams) (ExecResult, error) {
	var result ExecResult
	e.Stdin = std.Stdin != nil
	err := c.converse(ctx, OpExec, e, &result, outputs(std.Stdout, std.Stderr), func(s *wire.Stream) error {
		if std.Stdin == nil {
			return s.CloseSend()
		}
		go pump(s, KindStdin, std.Stdin)
		return nil
	})
	return result, err
}

// Import sends the tar stream r to be unpacked. Where the other side refuses it, Import stops reading and returns
// the refusal. An error of r is returned as it is, and the other side sees the tree cut off.
func (c *Client) Import(ctx context.Context, i Import, r io.Reader) (ImportResult, error) {
	var result ImportResult
	var sent chan error // nil until sending has begun
	err := c.converse(ctx, OpImport, i, &result, nil, func(s *wire.Stream) error {
		sent = make(chan error, 1)
		go func() { sent <- pump(s, KindData, r) }()
		return nil
	})
	if sent == nil {
		return result, err
	}
	select {
	case bad := <-sent:
		var source *sourceError
		if errors.As(bad, &source) {
			return result, source.err
		}
	case <-ctx.Done(): // a Read that blocks is not waited for
	}
	return result, err
}

// Export writes a tar stream of what differs from the base image, with whiteouts in the form of OCI layers.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	return c.converse(ctx, OpExport, Empty{}, nil, map[uint8]io.Writer{KindData: w}, nil)
}

// Follow asks for an [OpFollow] and writes its output until it ends.
func (c *Client) Follow(ctx context.Context, params any, stdout, stderr io.Writer) error {
	return c.converse(ctx, OpFollow, params, nil, outputs(stdout, stderr), nil)
}

func outputs(stdout, stderr io.Writer) map[uint8]io.Writer {
	m := map[uint8]io.Writer{}
	if stdout != nil {
		m[KindStdout] = stdout
	}
	if stderr != nil {
		m[KindStderr] = stderr
	}
	return m
}

// converse holds one conversation. send starts to send the input; without it there is none.
func (c *Client) converse(ctx context.Context, op Op, params, result any, out map[uint8]io.Writer,
	send func(*wire.Stream) error) error {
	s, err := c.conn.Open()
	if err != nil {
		return lost(err)
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if send == nil {
		send = (*wire.Stream).CloseSend
	}
	if err = request(s, op, params); err == nil {
		err = send(s)
	}
	var reply Reply
	if err == nil || errors.Is(err, wire.ErrReset) { // a reset may follow a reply
		reply, err = receive(s, out)
	}
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if err := reply.Err(); err != nil {
		return err
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(reply.Result, result); err != nil {
		return &Error{Code: CodeInternal, Message: fmt.Sprintf("the answer to %q makes no sense: %v", op, err)}
	}
	return nil
}

func request(s *wire.Stream, op Op, params any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("cannot encode the parameters of %q: %w", op, err)
	}
	b, err := json.Marshal(Request{Op: op, Params: raw})
	if err != nil {
		return fmt.Errorf("cannot encode the request %q: %w", op, err)
	}
	err = s.Send(KindControl, b)
	if errors.Is(err, wire.ErrTooLarge) {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("the request %q is too large", op)}
	}
	return err
}

// receive writes messages where they belong until the reply comes.
func receive(s *wire.Stream, out map[uint8]io.Writer) (Reply, error) {
	for {
		m, err := s.Recv()
		if err != nil {
			return Reply{}, lost(err)
		}
		if m.Kind == KindControl {
			return parseReply(m.Data)
		}
		w := out[m.Kind]
		if w == nil {
			continue
		}
		if _, err := w.Write(m.Data); err != nil {
			return Reply{}, fmt.Errorf("cannot write what was received: %w", err)
		}
	}
}

// sourceError is the failure of a pump's reader, not of its stream.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// pump sends all of r. The stream is closed where r fails, so that the other side does not take the part for the
// whole.
func pump(s *wire.Stream, kind uint8, r io.Reader) error {
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
			if kind == KindStdin {
				return s.CloseSend() // a terminal that fails is the end of input
			}
			s.Close()
			return &sourceError{err}
		}
	}
}

// lost turns the end of a stream without a reply into an Error.
func lost(err error) error {
	if errors.Is(err, wire.ErrTooMany) {
		return &Error{Code: CodeLimit, Message: "too many operations at once"}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &Error{Code: CodeGuestLost, Message: fmt.Sprintf("the other side is gone: %v", err)}
}

const longestMessage = 4 << 10

// parseReply reads a Reply, which may come from a guest: its words are made fit for a terminal.
func parseReply(b []byte) (Reply, error) {
	var r Reply
	if err := json.Unmarshal(b, &r); err != nil {
		return Reply{}, &Error{Code: CodeInternal, Message: fmt.Sprintf("the answer makes no sense: %v", err)}
	}
	if r.Error != nil {
		r.Error.Message = printable(r.Error.Message)
		r.Error.Hint = printable(r.Error.Hint)
		if r.Error.Message == "" {
			r.Error.Message = "the other side failed without a reason"
		}
	}
	return r, nil
}

// printable keeps a foreign text short and free of control characters.
func printable(s string) string {
	if len(s) > longestMessage {
		s = s[:longestMessage] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Err returns the reply's failure, nil on success.
func (r Reply) Err() error {
	if r.Error == nil {
		return nil
	}
	return r.Error
}
