package link

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Client asks the other side of a connection. Its methods may be called from many goroutines.
type Client struct {
	conn  *wire.Conn
	guest bool // a guest answers: see [Error.fromGuest]
}

// NewClient returns a Client on a connection that was dialled. Closing the connection is the caller's.
func NewClient(c *wire.Conn) *Client { return &Client{conn: c} }

// NewGuestClient returns a Client of a guest, which may say anything: its failures are of codes that a guest
// may use, give no hint and no cause, and its words are quoted.
func NewGuestClient(c *wire.Conn) *Client { return &Client{conn: c, guest: true} }

// Conn returns the connection.
func (c *Client) Conn() *wire.Conn { return c.conn }

// Call asks for one operation and decodes its result, if result is not nil.
func (c *Client) Call(ctx context.Context, op Op, params, result any) error {
	return c.converse(ctx, op, params, result, source{}, nil)
}

// Streams are the standard streams of a command, on the asking side. A nil Stdin is no input, a nil writer
// drops its output. The two writers are not called at the same time. Sizes are those of the command's
// terminal as they change; they are sent as long as Stdin has not ended.
type Streams struct {
	Stdin          io.Reader
	Lazy           bool // Stdin is read only once the command reads its own
	Stdout, Stderr io.Writer
	Sizes          <-chan Size
}

// Exec runs one command and returns when it has ended and all its output is written. The end of ctx, or an
// error of Stdin or of one of the writers, kills the command. Exec does not wait for a Stdin that blocks:
// such a Read may return after Exec, and what it brought is lost.
func (c *Client) Exec(ctx context.Context, e Exec, std Streams) (ExecResult, error) {
	var result ExecResult
	e.Stdin = std.Stdin != nil
	in := source{kind: KindStdin, r: std.Stdin, sizes: std.Sizes}
	out := outputs(std.Stdout, std.Stderr)
	if e.Stdin && std.Lazy {
		e.LazyStdin = true
		wanted := make(chan struct{})
		in.r = &lazyReader{r: std.Stdin, wanted: wanted}
		out[KindNote] = &wants{wanted: wanted}
		over, cancel := context.WithCancel(ctx)
		defer cancel()
		in.r.(*lazyReader).over = over.Done()
	}
	return result, c.converse(ctx, OpExec, e, &result, in, out)
}

// AttachTo makes the caller of a command that is known by its id: see [Attach]. at is told first where the
// output begins. The end of ctx kills the command, as in [Client.Exec].
func (c *Client) AttachTo(ctx context.Context, a Attach, std Streams, at func(Attached)) (ExecResult, error) {
	var result ExecResult
	a.Stdin = std.Stdin != nil
	out := outputs(std.Stdout, std.Stderr)
	out[KindNote] = notes(at)
	in := source{kind: KindStdin, r: std.Stdin, sizes: std.Sizes}
	return result, c.converse(ctx, OpAttach, a, &result, in, out)
}

// AttachJob follows a background command's output and passes input on, until it has ended, of which the
// record comes, or ctx has, which ends nothing. lost is told how many bytes are missing at that place.
func (c *Client) AttachJob(ctx context.Context, a JobAttach, std Streams, lost func(int64), rec any) error {
	a.Stdin = std.Stdin != nil
	out := outputs(std.Stdout, std.Stderr)
	out[KindNote] = gaps(lost)
	return c.converse(ctx, OpJobAttach, a, rec, source{kind: KindStdin, r: std.Stdin, sizes: std.Sizes}, out)
}

// Note asks for an operation that lasts as long as its caller, and hears the note with which that begins.
func (c *Client) Note(ctx context.Context, op Op, params any, heard func([]byte) error) error {
	return c.converse(ctx, op, params, nil, source{}, map[uint8]io.Writer{KindNote: hearing(heard)})
}

type hearing func([]byte) error

func (f hearing) Write(p []byte) (int, error) { return len(p), f(p) }

// gaps takes the notes of an attached stream.
type gaps func(int64)

func (f gaps) Write(p []byte) (int, error) {
	var lost JobLost
	if err := json.Unmarshal(p, &lost); err != nil {
		return 0, &Error{Code: CodeInternal, Message: fmt.Sprintf("the answer makes no sense: %v", err)}
	}
	f(lost.Bytes)
	return len(p), nil
}

// notes takes the first message of an attached stream.
type notes func(Attached)

func (f notes) Write(p []byte) (int, error) {
	var at Attached
	if err := json.Unmarshal(p, &at); err != nil {
		return 0, &Error{Code: CodeInternal, Message: fmt.Sprintf("the answer makes no sense: %v", err)}
	}
	if f != nil {
		f(at)
	}
	return len(p), nil
}

// Import sends what package archive packed to be unpacked. If the other side refuses it, Import stops
// reading and returns the refusal. An error of r is returned as it is, and the other side sees the tree cut
// off. Import returns when nobody reads r any more, or ctx has ended.
func (c *Client) Import(ctx context.Context, i Import, r io.Reader) (ImportResult, error) {
	var result ImportResult
	return result, c.converse(ctx, OpImport, i, &result, source{kind: KindData, r: r, wait: true}, nil)
}

// Take asks for an operation whose answer comes as data.
func (c *Client) Take(ctx context.Context, op Op, params, result any, w io.Writer) error {
	return c.converse(ctx, op, params, result, source{}, map[uint8]io.Writer{KindData: w})
}

// Give asks for an operation whose input goes as data.
func (c *Client) Give(ctx context.Context, op Op, params, result any, r io.Reader) error {
	return c.converse(ctx, op, params, result, source{kind: KindData, r: r, wait: true}, nil)
}

// Export writes a tar stream of what differs from the base image, with whiteouts in the form of OCI layers.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	return c.converse(ctx, OpExport, Empty{}, nil, source{}, map[uint8]io.Writer{KindData: w})
}

// Follow asks for an operation without a result and writes its output until it ends.
func (c *Client) Follow(ctx context.Context, op Op, params any, stdout io.Writer) error {
	return c.converse(ctx, op, params, nil, source{}, outputs(stdout, nil))
}

// Post asks for an operation and does not wait for its end.
func (c *Client) Post(ctx context.Context, op Op, params any) error {
	s, err := c.open(ctx, op, params)
	if err != nil {
		return err
	}
	return s.CloseSend()
}

// source is where an operation's input comes from, nowhere by default.
type source struct {
	kind  uint8
	r     io.Reader
	wait  bool // until r is read no more
	sizes <-chan Size
	quit  func() // called when the other side has spoken its last; r ends then
}

// converse holds one conversation.
func (c *Client) converse(
	ctx context.Context, op Op, params, result any, in source, out map[uint8]io.Writer,
) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s, err := c.open(ctx, op, params)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	sent := make(chan error, 1)
	if in.r == nil {
		sent <- s.CloseSend()
	} else {
		go func() {
			err := pump(s, in.kind, in.r)
			sent <- err
			if _, failed := err.(*sourceError); failed {
				s.Close() // but not if the peer has: its reply may not have been read yet
			}
		}()
	}
	if in.sizes != nil {
		go sendSizes(s, in.sizes)
	}
	reply, err := c.receive(s, out)
	s.Close()
	if in.quit != nil {
		in.quit()
	}
	if in.wait || err != nil {
		if broken := sourceFailure(ctx, sent, in.wait); broken != nil {
			return broken
		}
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		err = reply.Err()
	}
	if err != nil || result == nil {
		return err
	}
	if err := json.Unmarshal(reply.Result, result); err != nil {
		return &Error{Code: CodeInternal,
			Message: fmt.Sprintf("the answer to %q makes no sense: %v", op, err)}
	}
	return nil
}

// sourceFailure tells whether the reader was what failed. A Read that blocks is not waited for past ctx's
// end.
func sourceFailure(ctx context.Context, sent <-chan error, wait bool) error {
	var err error
	select {
	case err = <-sent:
	default:
		if wait {
			select {
			case err = <-sent:
			case <-ctx.Done():
			}
		}
	}
	var failure *sourceError
	if errors.As(err, &failure) {
		return failure.err
	}
	return nil
}

// open begins a conversation. The end of ctx ends the sending of the request, which waits for who does not
// read.
func (c *Client) open(ctx context.Context, op Op, params any) (*wire.Stream, error) {
	return c.begin(ctx, op, params, c.conn.Open)
}

// begin is open, of a stream that is opened in a way of its own.
func (c *Client) begin(
	ctx context.Context, op Op, params any, open func() (*wire.Stream, error),
) (*wire.Stream, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the parameters of %q: %w", op, err)
	}
	b, err := json.Marshal(Request{Op: op, Params: raw})
	if err != nil {
		return nil, fmt.Errorf("cannot encode the request %q: %w", op, err)
	}
	s, err := open()
	if err != nil {
		return nil, lost(err)
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	err = s.Send(KindControl, b)
	if !stop() {
		s.Close()
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, wire.ErrReset) {
		return s, nil // a reply may have come before
	}
	if err == nil {
		return s, nil
	}
	s.Close()
	if errors.Is(err, wire.ErrTooLarge) {
		return nil, &Error{Code: CodeInvalid, Message: fmt.Sprintf("the request %q is too large", op)}
	}
	return nil, lost(err)
}

// receive writes messages where they belong until the reply comes.
func (c *Client) receive(s *wire.Stream, out map[uint8]io.Writer) (Reply, error) {
	for {
		m, err := s.Recv()
		if err != nil {
			return Reply{}, lost(err)
		}
		if m.Kind == KindControl {
			return c.parseReply(m.Data)
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

// sendSizes sends a terminal's sizes until the stream is over.
func sendSizes(s *wire.Stream, sizes <-chan Size) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok || s.Send(KindResize, size.bytes()) != nil {
				return
			}
		case <-s.Broken():
			return
		}
	}
}

func (s Size) bytes() []byte {
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, s.Rows), s.Cols)
}

// ParseSize reads a message of [KindResize].
func ParseSize(b []byte) (size Size, ok bool) {
	if len(b) != 4 {
		return Size{}, false
	}
	return Size{Rows: binary.LittleEndian.Uint16(b), Cols: binary.LittleEndian.Uint16(b[2:])}, true
}

// sourceError is the failure of a pump's reader, not of its stream.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// pump sends all of r. If it fails the stream is to be closed, so that the other side does not take the
// part for the whole.
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
			return &sourceError{err}
		}
	}
}

// parseReply reads a Reply, and makes its words fit for a terminal.
func (c *Client) parseReply(b []byte) (Reply, error) {
	var r Reply
	if err := json.Unmarshal(b, &r); err != nil {
		return Reply{}, &Error{Code: CodeInternal, Message: fmt.Sprintf("the answer makes no sense: %v", err)}
	}
	switch {
	case r.Error == nil:
	case c.guest:
		r.Error.fromGuest()
	default:
		r.Error.fromSupervisor()
	}
	return r, nil
}

// Err returns the reply's failure, nil on success.
func (r Reply) Err() error {
	if r.Error == nil {
		return nil
	}
	return r.Error
}
