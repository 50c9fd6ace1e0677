package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/pyro-mcp/pyro"
)

// call is one request under way.
type call struct {
	server *server
	id     json.RawMessage
	input  *input
}

type method func(context.Context, call, json.RawMessage) (any, error)

// paramsError says that a request's params make no sense.
type paramsError struct{ message string }

func (e *paramsError) Error() string { return e.message }

// wire is what a request may say about its streams, beside the operation's own parameters.
type wire struct {
	Stream bool   `json:"stream"` // tell of output as it comes
	Stdin  []byte `json:"stdin"`  // base64
	Input  bool   `json:"input"`  // standard input comes in notifications
	Follow bool   `json:"follow"` // tell of what happens from now on
}

// wireNames are the names of a request that say something about each hook.
func wireNames(o pyro.Operation) []string {
	var names []string
	if o.Takes(pyro.HookStreams) {
		names = append(names, "stream", "stdin", "input")
	}
	if o.Takes(pyro.HookFollow) {
		names = append(names, "follow")
	}
	return names
}

// methods are the operations, by the names that all faces share.
func (s *server) methods() map[string]method {
	all := map[string]method{"hello": s.hello}
	for _, o := range pyro.Operations() {
		all[o.Name] = s.method(o)
	}
	return all
}

// method answers an operation's requests.
func (s *server) method(o pyro.Operation) method {
	return func(ctx context.Context, c call, raw json.RawMessage) (any, error) {
		raw, w, err := split(raw, wireNames(o))
		if err != nil {
			return nil, &paramsError{pyro.Misread(err)}
		}
		params, err := o.Decode(raw)
		if err != nil {
			return nil, &paramsError{err.Error()}
		}
		hooks := pyro.Hooks{Progress: c.progress, Streams: c.streams(w)}
		if w.Follow {
			hooks.Follow = c.event
		}
		return o.Call(ctx, s.engine, params, hooks)
	}
}

// split takes what a request says about its streams out of its params.
func split(raw json.RawMessage, names []string) (json.RawMessage, wire, error) {
	var w wire
	if len(names) == 0 || len(raw) == 0 || string(raw) == "null" {
		return raw, w, nil
	}
	var all, own map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return raw, w, err
	}
	own = map[string]json.RawMessage{}
	for _, name := range names {
		if value, ok := all[name]; ok {
			own[name] = value
			delete(all, name)
		}
	}
	if len(own) == 0 {
		return raw, w, nil
	}
	rest, err := json.Marshal(all)
	if err != nil {
		return raw, w, err
	}
	said, err := json.Marshal(own)
	if err == nil {
		err = json.Unmarshal(said, &w)
	}
	return rest, w, err
}

// hello tells who we are, and refuses a client that needs a later protocol.
func (s *server) hello(_ context.Context, _ call, raw json.RawMessage) (any, error) {
	var in struct {
		Protocol int    `json:"protocol"`
		Client   string `json:"client"`
	}
	if len(raw) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil {
			return nil, &paramsError{pyro.Misread(err)}
		}
	}
	if in.Protocol > Protocol {
		return nil, &paramsError{fmt.Sprintf(
			"this pyro (%s) speaks protocol %d of the bridge, %d is wanted: install a later one", s.version,
			Protocol, in.Protocol)}
	}
	return map[string]any{"protocol": Protocol, "version": s.version, "pid": os.Getpid()}, nil
}

// streams connects a command's streams with the client.
func (c call) streams(w wire) pyro.Streams {
	s := pyro.Streams{}
	switch {
	case w.Input:
		s.Stdin = c.input
	case len(w.Stdin) > 0:
		s.Stdin = bytes.NewReader(w.Stdin)
	}
	if w.Stream {
		s.Stdout, s.Stderr = stream{c, "stdout"}, stream{c, "stderr"}
	}
	return s
}

// stream tells a client of output. Data goes over the bridge as base64, so that each byte arrives.
type stream struct {
	call call
	name string
}

var _ io.Writer = stream{}

func (s stream) Write(data []byte) (int, error) {
	err := s.call.server.notify("output", struct {
		ID     json.RawMessage `json:"id"`
		Stream string          `json:"stream"`
		Data   []byte          `json:"data"`
	}{s.call.id, s.name, data})
	if err != nil {
		return 0, err
	}
	return len(data), nil
}

func (c call) progress(m pyro.PullProgress) {
	_ = c.server.notify("progress", struct {
		ID json.RawMessage `json:"id"`
		pyro.PullProgress
	}{c.id, m})
}

func (c call) event(e pyro.LogEvent) {
	_ = c.server.notify("log", struct {
		ID    json.RawMessage `json:"id"`
		Kind  string          `json:"kind"`
		Entry pyro.LogEntry   `json:"entry"`
		Data  []byte          `json:"data"`
	}{c.id, e.Kind, e.Entry, e.Data})
}
