// Package rpc is the bridge for other languages: JSON-RPC 2.0 over a pair of streams, one message a line.
//
// The client's first request is hello. Requests run at once, side by side, and are answered by their ids. A
// request whose params hold "stream": true is told of output as it comes (method output, data in base64), and
// pulls tell of their progress (method progress). A request whose params hold "input": true takes the
// command's standard input in notifications of the method input ({"id", "data" in base64, "end"}): 1 MiB at
// once, then as much more as the notifications of the method wanted ({"id", "bytes"}) say. The notification
// cancel ends a request; the end of the bridge's own input ends them all. A message beyond the limit of 16
// MiB fails its own request alone.
package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/text"
)

// Protocol is the version of this protocol. A client says hello with the least one that it needs.
const Protocol = 2

const (
	lineLimit  = 16 << 20 // of one message
	callsLimit = 64       // of requests under way
	beginning  = 4 << 10  // of a message beyond the limit
)

// The codes of JSON-RPC, and pyro's own for a failure of pyro, whose data holds kind and hint.
const (
	codeParse     = -32700
	codeRequest   = -32600
	codeMethod    = -32601
	codeParams    = -32602
	codeFailure   = -32000
	codeCancelled = -32001
	codeBusy      = -32002
)

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type reply struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *fault          `json:"error,omitempty"`
}

type notification struct {
	Version string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type fault struct {
	Code    int        `json:"code"`
	Message string     `json:"message"`
	Data    *faultData `json:"data,omitempty"`
}

type faultData struct {
	Kind  string `json:"kind"`
	Cause string `json:"cause,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// server is one conversation.
type server struct {
	engine  *pyro.Pyro
	version string
	known   map[string]method
	writing sync.Mutex
	out     io.Writer
	calls   sync.WaitGroup

	mu     sync.Mutex
	active map[string]active // by id, as written
}

// active is a request under way.
type active struct {
	cancel context.CancelCauseFunc
	input  *input
}

// Serve answers requests until the input or ctx ends. It returns when all requests have ended.
func Serve(ctx context.Context, p *pyro.Pyro, version string, in io.Reader, out io.Writer) error {
	s := newServer(p, version, out)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.read(ctx, in) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done(): // a read of stdin cannot be ended: it goes with the process
	}
	cancel()
	s.calls.Wait()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func newServer(p *pyro.Pyro, version string, out io.Writer) *server {
	s := &server{
		engine:  p,
		version: version,
		out:     out,
		active:  map[string]active{},
	}
	s.known = s.methods()
	return s
}

func (s *server) read(ctx context.Context, in io.Reader) error {
	reader := bufio.NewReaderSize(in, 64<<10)
	for {
		line, _, err := text.Line(reader, lineLimit, beginning)
		switch {
		case errors.Is(err, text.ErrTooLong):
			err = s.fail(requestID(line), fault{Code: codeRequest,
				Message: fmt.Sprintf("the message is longer than %d bytes", lineLimit)})
		case len(bytes.TrimSpace(line)) > 0:
			err = errors.Join(err, s.take(ctx, line))
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// take begins what a line asks for.
func (s *server) take(ctx context.Context, line []byte) error {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		code := codeRequest
		if !json.Valid(line) {
			code = codeParse
		}
		return s.fail(nil, fault{Code: code, Message: "not a JSON-RPC message: " + err.Error()})
	}
	if len(m.ID) == 0 || string(m.ID) == "null" {
		switch m.Method {
		case "cancel":
			var params struct {
				ID json.RawMessage `json:"id"`
			}
			_ = json.Unmarshal(m.Params, &params)
			s.cancel(string(params.ID))
		case "input":
			s.feed(m.Params)
		}
		return nil // other notifications are not for us
	}
	if m.ID[0] == '{' || m.ID[0] == '[' || m.Method == "" {
		return s.fail(nil, fault{Code: codeRequest,
			Message: "a request wants a method, and an id that is a number or a string"})
	}
	do, ok := s.known[m.Method]
	if !ok {
		return s.fail(m.ID, fault{Code: codeMethod, Message: fmt.Sprintf("unknown method %q", m.Method)})
	}
	return s.start(ctx, m, do)
}

// start runs a request beside the others.
func (s *server) start(ctx context.Context, m message, do method) error {
	id := string(m.ID)
	ctx, cancel := context.WithCancelCause(ctx)
	in := newInput(func(n int) { s.want(m.ID, n) })
	s.mu.Lock()
	_, taken := s.active[id]
	busy := len(s.active) >= callsLimit
	if !taken && !busy {
		s.active[id] = active{cancel, in}
	}
	s.mu.Unlock()
	switch {
	case taken:
		cancel(nil)
		return s.fail(m.ID, fault{Code: codeRequest, Message: "this id is under way already"})
	case busy:
		cancel(nil)
		return s.fail(m.ID, fault{Code: codeBusy, Message: fmt.Sprintf("%d requests are under way already",
			callsLimit), Data: &faultData{Kind: "limit_reached"}})
	}
	s.calls.Go(func() {
		defer cancel(nil)
		result, err := do(ctx, call{server: s, id: m.ID, input: in}, m.Params)
		in.close()
		s.mu.Lock()
		delete(s.active, id)
		s.mu.Unlock()
		if err != nil {
			_ = s.fail(m.ID, describe(ctx, err))
			return
		}
		_ = s.write(reply{Version: "2.0", ID: m.ID, Result: result})
	})
	return nil
}

func (s *server) cancel(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if call, ok := s.active[id]; ok {
		call.cancel(nil)
	}
}

// describe turns an error into what goes over the bridge.
func describe(ctx context.Context, err error) fault {
	var bad *paramsError
	if errors.As(context.Cause(ctx), &bad) {
		err = bad // What the client did wrong is why its call was ended.
	}
	switch {
	case errors.As(err, &bad):
		return fault{Code: codeParams, Message: bad.Error(), Data: &faultData{Kind: "invalid"}}
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return fault{Code: codeCancelled, Message: "cancelled", Data: &faultData{Kind: "cancelled"}}
	}
	return fault{Code: codeFailure, Message: err.Error(),
		Data: &faultData{Kind: pyro.ErrorKind(err), Cause: pyro.ErrorCause(err),
			Hint: pyro.ErrorRemedy(err, wording())}}
}

func (s *server) fail(id json.RawMessage, f fault) error {
	if id == nil {
		id = json.RawMessage("null")
	}
	return s.write(reply{Version: "2.0", ID: id, Error: &f})
}

func (s *server) notify(method string, params any) error {
	return s.write(notification{Version: "2.0", Method: method, Params: params})
}

// write sends one message. It blocks while the client does not read, and so holds back what it would be told.
func (s *server) write(m any) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err = s.out.Write(append(data, '\n'))
	return err
}

// want tells a client that it may send more of a command's input.
func (s *server) want(id json.RawMessage, n int) {
	_ = s.notify("wanted", struct {
		ID    json.RawMessage `json:"id"`
		Bytes int             `json:"bytes"`
	}{id, n})
}
