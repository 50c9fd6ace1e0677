package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Handler answers one request. It may receive from and send to the stream, but for the reply, which is what it
// returns. The context ends when the asking side gives up.
type Handler func(ctx context.Context, req Request, stream *wire.Stream) (result any, err error)

// Serve answers what comes over a connection until that is over, and then waits for the handlers to end.
func Serve(ctx context.Context, c *wire.Conn, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	var handlers sync.WaitGroup
	defer handlers.Wait()
	defer cancel()
	for {
		s, err := c.Accept()
		if errors.Is(err, wire.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		handlers.Go(func() { answer(ctx, s, h) })
	}
}

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
	var result any
	if err = json.Unmarshal(m.Data, &req); err != nil || m.Kind != KindControl {
		err = &Error{Code: CodeInvalid, Message: "the request cannot be read"}
	} else {
		result, err = h(ctx, req, s)
	}
	reply(s, result, err)
}

// reply ends a conversation. Where it cannot be sent, the asking side is gone.
func reply(s *wire.Stream, result any, err error) {
	r := Reply{Error: asError(err)}
	if err == nil {
		if r.Result, err = json.Marshal(result); err != nil {
			r = Reply{Error: asError(err)}
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		return
	}
	if s.Send(KindControl, data) == nil && s.CloseSend() == nil {
		// The asking side ends the stream when it has read the reply; what it still sends is read and dropped.
		for {
			if _, err := s.Recv(); err != nil {
				return
			}
		}
	}
}

func asError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Error() == err.Error() {
			return e
		}
		return &Error{Code: e.Code, Message: err.Error(), Hint: e.Hint}
	}
	return &Error{Code: CodeInternal, Message: err.Error()}
}

// Forward passes a request and all its messages on, and those of the answer back; tap, where it is not nil, sees
// the latter. The reply is given, not passed on, so that it can be acted on before anybody else knows.
func Forward(ctx context.Context, from *wire.Stream, req Request, to *Client, tap func(wire.Message)) (Reply, error) {
	onward, err := to.open(req.Op, req.Params)
	if err != nil {
		return Reply{}, err
	}
	defer onward.Close()
	defer context.AfterFunc(ctx, func() { onward.Close() })()
	go func() {
		for {
			m, err := from.Recv()
			switch {
			case err == io.EOF:
				err = onward.CloseSend()
			case err == nil:
				err = onward.Send(m.Kind, m.Data)
			default:
				onward.Close()
			}
			if err != nil || m.Data == nil {
				return
			}
		}
	}()
	for {
		m, err := onward.Recv()
		if err != nil {
			return Reply{}, lost(err)
		}
		if m.Kind == KindControl {
			var r Reply
			if err := json.Unmarshal(m.Data, &r); err != nil {
				return Reply{}, fmt.Errorf("the answer cannot be read: %w", err)
			}
			return r, nil
		}
		if tap != nil {
			tap(m)
		}
		if err := from.Send(m.Kind, m.Data); err != nil {
			return Reply{}, fmt.Errorf("cannot pass the output on: %w", err)
		}
	}
}
