package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Handler answers one request. The stream carries the operation's data: the Handler must not send control
// messages, nor close the stream. ctx ends when the asking side is gone. An err that is no *[Error] is sent
// with [CodeInternal].
type Handler func(ctx context.Context, req Request, s *wire.Stream) (result any, err error)

// Unsupported is the answer to an operation that is not known.
func Unsupported(op Op) error {
	return &Error{Code: CodeUnsupported,
		Message: fmt.Sprintf("operation %q is not supported", printable(string(op)))}
}

// Decode reads a request's parameters.
func Decode[T any](req Request) (T, error) {
	var params T
	if len(req.Params) == 0 {
		return params, nil
	}
	if err := json.Unmarshal(req.Params, &params); err != nil {
		return params, &Error{Code: CodeInvalid,
			Message: fmt.Sprintf("cannot read the parameters of %q: %v", req.Op, err)}
	}
	return params, nil
}

// Answer has an operation done with its parameters.
func Answer[T any](req Request, do func(T) (any, error)) (any, error) {
	params, err := Decode[T](req)
	if err != nil {
		return nil, err
	}
	return do(params)
}

// Serve answers requests until the connection ends, which is the caller's to close, and returns when all
// handlers have. It returns nil if this side has closed the connection, or a new one has taken its place.
func Serve(ctx context.Context, c *wire.Conn, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for {
		s, err := c.Accept()
		if errors.Is(err, wire.ErrClosed) || errors.Is(err, wire.ErrReplaced) {
			return nil
		}
		if err != nil {
			return err
		}
		running.Go(func() { answer(ctx, s, h) })
	}
}

// answer holds one conversation.
func answer(ctx context.Context, s *wire.Stream, h Handler) {
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.Broken():
			cancel()
		case <-ctx.Done():
		}
	}()
	m, err := s.Recv()
	if err != nil {
		return
	}
	var req Request
	if m.Kind != KindControl {
		err = &Error{Code: CodeInvalid, Message: "data came before a request"}
	} else if err = json.Unmarshal(m.Data, &req); err != nil {
		err = &Error{Code: CodeInvalid, Message: fmt.Sprintf("cannot read the request: %v", err)}
	}
	var result any
	if err == nil {
		result, err = h(ctx, req, s)
	}
	if sendReply(s, makeReply(result, err)) == nil {
		s.CloseSend()
	}
}

func makeReply(result any, err error) Reply {
	if err == nil {
		var raw json.RawMessage
		if raw, err = json.Marshal(result); err == nil {
			return Reply{Result: raw}
		}
	}
	e := Error{Code: CodeInternal}
	if known := (*Error)(nil); errors.As(err, &known) {
		e = *known
	}
	e.Message = err.Error() // with what wraps it
	return Reply{Error: &e}
}

func sendReply(s *wire.Stream, r Reply) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = s.Send(KindControl, b)
	if !errors.Is(err, wire.ErrTooLarge) {
		return err
	}
	b, err = json.Marshal(Reply{Error: &Error{Code: CodeInternal, Message: "the answer is too large"}})
	if err != nil {
		return err
	}
	return s.Send(KindControl, b)
}

// Forward passes a request, and the messages that follow it on from, to the next hop, and what it answers
// back. tap, if not nil, sees each message from the next hop before it is passed on. The final reply is
// returned, not passed on; an error means that there is none: [ErrAskerGone] if from ended first, which
// may be known before ctx ends, else what became of the next hop.
func Forward(
	ctx context.Context, from *wire.Stream, req Request, to *Client, tap func(wire.Message),
) (Reply, error) {
	s, err := to.open(ctx, req.Op, req.Params)
	if err != nil {
		return Reply{}, err
	}
	var input sync.WaitGroup
	var broken atomic.Bool
	input.Go(func() { passInput(from, s, &broken) })
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer func() {
		stop()
		from.CloseRecv()
		s.Close()
		input.Wait()
	}()
	for {
		m, err := s.Recv()
		if err != nil && broken.Load() {
			return Reply{}, ErrAskerGone
		}
		if err != nil && ctx.Err() != nil {
			return Reply{}, context.Cause(ctx)
		}
		if err != nil {
			return Reply{}, lost(err)
		}
		if m.Kind == KindControl {
			return to.parseReply(m.Data)
		}
		if tap != nil {
			tap(m)
		}
		if err := from.Send(m.Kind, m.Data); err != nil {
			return Reply{}, fmt.Errorf("%w: %w", ErrAskerGone, err)
		}
	}
}

// ErrAskerGone says that whoever asked does not listen any more.
var ErrAskerGone = errors.New("the caller went away")

// passInput passes messages on. If they stop without their end, so does the next hop's stream, and broken
// is set before that.
func passInput(from, to *wire.Stream, broken *atomic.Bool) {
	for {
		m, err := from.Recv()
		switch {
		case err == nil:
			if to.Send(m.Kind, m.Data) != nil {
				return
			}
		case err == io.EOF:
			to.CloseSend()
			return
		default:
			broken.Store(true)
			to.Close()
			return
		}
	}
}
