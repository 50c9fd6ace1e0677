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
}

type (
	runParams struct {
		pyro.RunInVMRequest
		wire
	}
	execVMParams struct {
		pyro.ExecVMRequest
		wire
	}
	execTaskParams struct {
		pyro.ExecTaskRequest
		wire
	}
	logsParams struct {
		pyro.LogsTaskRequest
		Follow bool `json:"follow"`
	}
	none struct{}
)

// methods are the operations, by the names that all faces share.
func (s *server) methods() map[string]method {
	p := s.engine
	return map[string]method{
		"hello":              handle(s.hello),
		"list_environments":  handle(func(ctx context.Context, _ call, _ none) (any, error) { return p.ListEnvironments(ctx) }),
		"prune_environments": handle(func(ctx context.Context, _ call, _ none) (any, error) { return p.PruneEnvironments(ctx) }),
		"reap_expired":       handle(func(ctx context.Context, _ call, _ none) (any, error) { return p.ReapExpired(ctx) }),
		"list_vms":           handle(func(ctx context.Context, _ call, _ none) (any, error) { return p.ListVMs(ctx) }),
		"pull_environment": handle(func(ctx context.Context, c call, in pyro.PullEnvironmentRequest) (any, error) {
			in.Progress = c.progress
			return p.PullEnvironment(ctx, in)
		}),
		"inspect_environment": handle(func(ctx context.Context, _ call, in pyro.EnvironmentRequest) (any, error) {
			return p.InspectEnvironment(ctx, in)
		}),
		"warm_environment": handle(func(ctx context.Context, _ call, in pyro.WarmEnvironmentRequest) (any, error) {
			return p.WarmEnvironment(ctx, in)
		}),
		"create_vm": handle(func(ctx context.Context, c call, in pyro.CreateVMRequest) (any, error) {
			in.Progress = c.progress
			return p.CreateVM(ctx, in)
		}),
		"start_vm":        handle(func(ctx context.Context, _ call, in pyro.VMRequest) (any, error) { return p.StartVM(ctx, in) }),
		"stop_vm":         handle(func(ctx context.Context, _ call, in pyro.VMRequest) (any, error) { return p.StopVM(ctx, in) }),
		"delete_vm":       handle(func(ctx context.Context, _ call, in pyro.VMRequest) (any, error) { return p.DeleteVM(ctx, in) }),
		"status_vm":       handle(func(ctx context.Context, _ call, in pyro.VMRequest) (any, error) { return p.StatusVM(ctx, in) }),
		"network_info_vm": handle(func(ctx context.Context, _ call, in pyro.VMRequest) (any, error) { return p.NetworkInfoVM(ctx, in) }),
		"exec_vm": handle(func(ctx context.Context, c call, in execVMParams) (any, error) {
			in.Streams = c.streams(in.wire)
			return p.ExecVM(ctx, in.ExecVMRequest)
		}),
		"run_in_vm": handle(func(ctx context.Context, c call, in runParams) (any, error) {
			in.Progress, in.Streams = c.progress, c.streams(in.wire)
			return p.RunInVM(ctx, in.RunInVMRequest)
		}),
		"create_task": handle(func(ctx context.Context, c call, in pyro.CreateTaskRequest) (any, error) {
			in.Progress = c.progress
			return p.CreateTask(ctx, in)
		}),
		"exec_task": handle(func(ctx context.Context, c call, in execTaskParams) (any, error) {
			in.Streams = c.streams(in.wire)
			return p.ExecTask(ctx, in.ExecTaskRequest)
		}),
		"status_task": handle(func(ctx context.Context, _ call, in pyro.TaskRequest) (any, error) { return p.StatusTask(ctx, in) }),
		"delete_task": handle(func(ctx context.Context, _ call, in pyro.TaskRequest) (any, error) { return p.DeleteTask(ctx, in) }),
		"logs_task": handle(func(ctx context.Context, c call, in logsParams) (any, error) {
			request := in.LogsTaskRequest
			if in.Follow {
				request.Follow = c.event
			}
			return p.LogsTask(ctx, request)
		}),
	}
}

// hello tells who we are, and refuses a client that needs a later protocol.
func (s *server) hello(_ context.Context, _ call, in struct {
	Protocol int    `json:"protocol"`
	Client   string `json:"client"`
}) (any, error) {
	if in.Protocol > Protocol {
		return nil, &paramsError{fmt.Sprintf("this pyro (%s) speaks protocol %d of the bridge, %d is wanted: install a later one", s.version, Protocol, in.Protocol)}
	}
	return map[string]any{"protocol": Protocol, "version": s.version, "pid": os.Getpid()}, nil
}

// handle reads an operation's params, in which each name must be known.
func handle[In any](do func(context.Context, call, In) (any, error)) method {
	return func(ctx context.Context, c call, params json.RawMessage) (any, error) {
		var in In
		if len(params) > 0 && string(params) != "null" {
			decoder := json.NewDecoder(bytes.NewReader(params))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&in); err != nil {
				return nil, &paramsError{"params: " + err.Error()}
			}
		}
		return do(ctx, c, in)
	}
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
