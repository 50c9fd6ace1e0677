package pyro

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Effect is the most that an operation does to the world.
type Effect string

// The effects, from the least to the most.
const (
	EffectReads    Effect = "reads"    // changes nothing
	EffectMakes    Effect = "makes"    // adds something, and alters nothing that is there
	EffectChanges  Effect = "changes"  // may change or run anything inside a VM
	EffectDestroys Effect = "destroys" // removes something
)

// Hooks are what may happen while an operation goes on. An operation uses those that its parameters take (see
// [Operation.Takes]); nil ones are dropped.
type Hooks struct {
	Progress func(PullProgress)
	Streams  Streams
	Follow   func(LogEvent)
}

// Hook names one of the [Hooks].
type Hook string

// The hooks.
const (
	HookProgress Hook = "progress" // of what comes first, such as a pull
	HookStreams  Hook = "streams"  // a command's standard input, output and error
	HookFollow   Hook = "follow"   // events, for as long as the call is wanted
)

// Operation declares one operation of the engine. All faces range over [Operations]: the JSON-RPC bridge, the
// MCP tools, the Python client and its types, the contract's test.
type Operation struct {
	// Name is the operation's on every face; a Go method has it without the underscores, in Go's case.
	Name string
	// Summary is one sentence about it, as documentation has it.
	Summary string
	// Effect is the most that it does.
	Effect Effect
	// Params and Result are structs: their JSON names are those of every face.
	Params, Result reflect.Type

	takes []Hook
	call  func(ctx context.Context, p *Pyro, params any, hooks Hooks) (any, error)
}

// Takes tells whether an operation uses a hook.
func (o Operation) Takes(hook Hook) bool {
	for _, h := range o.takes {
		if h == hook {
			return true
		}
	}
	return false
}

// Decode reads parameters, in which each name must be known. Nothing, or null, is no parameters. The result
// is for Call.
func (o Operation) Decode(data []byte) (any, error) {
	params := reflect.New(o.Params).Interface()
	if len(data) == 0 || string(data) == "null" {
		return params, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(params); err != nil {
		return nil, &Error{Kind: ErrInvalid, Message: Misread(err), cause: err}
	}
	return params, nil
}

// Call runs the operation. Params is a pointer to an o.Params, as Decode gives it; the result is an o.Result.
func (o Operation) Call(ctx context.Context, p *Pyro, params any, hooks Hooks) (any, error) {
	return o.call(ctx, p, params, hooks)
}

// None is the parameters of an operation that has none.
type None struct{}

// Parameters take the hooks that they have a method for.
type (
	takesProgress interface{ setProgress(func(PullProgress)) }
	takesStreams  interface{ setStreams(Streams) }
	takesFollow   interface{ setFollow(func(LogEvent)) }
)

func (s *Shape) setProgress(f func(PullProgress))                  { s.Progress = f }
func (r *PullEnvironmentRequest) setProgress(f func(PullProgress)) { r.Progress = f }
func (r *PushEnvironmentRequest) setProgress(f func(PullProgress)) { r.Progress = f }
func (c *CommandLine) setStreams(s Streams)                        { c.Streams = s }
func (r *AttachCommandRequest) setStreams(s Streams)               { r.Streams = s }
func (r *LogsTaskRequest) setFollow(f func(LogEvent))              { r.Follow = f }

// operation declares an operation by its method.
func operation[In, Out any](
	name string, effect Effect, summary string, method func(*Pyro, context.Context, In) (Out, error),
) Operation {
	o := Operation{
		Name:    name,
		Summary: summary,
		Effect:  effect,
		Params:  reflect.TypeFor[In](),
		Result:  reflect.TypeFor[Out](),
	}
	params := any(new(In))
	if _, ok := params.(takesProgress); ok {
		o.takes = append(o.takes, HookProgress)
	}
	if _, ok := params.(takesStreams); ok {
		o.takes = append(o.takes, HookStreams)
	}
	if _, ok := params.(takesFollow); ok {
		o.takes = append(o.takes, HookFollow)
	}
	o.call = func(ctx context.Context, p *Pyro, params any, hooks Hooks) (any, error) {
		in, ok := params.(*In)
		if !ok {
			return nil, fmt.Errorf("the parameters of %q are a %T, not a %T", name, params, in)
		}
		if t, ok := params.(takesProgress); ok {
			t.setProgress(hooks.Progress)
		}
		if t, ok := params.(takesStreams); ok {
			t.setStreams(hooks.Streams)
		}
		if t, ok := params.(takesFollow); ok {
			t.setFollow(hooks.Follow)
		}
		return method(p, ctx, *in)
	}
	return o
}

// bare declares an operation without parameters.
func bare[Out any](
	name string, effect Effect, summary string, method func(*Pyro, context.Context) (Out, error),
) Operation {
	return operation(name, effect, summary,
		func(p *Pyro, ctx context.Context, _ None) (Out, error) { return method(p, ctx) })
}

// Parameters are those of an operation, in the order of its struct. A field with the tag default:"none" has
// no default, whatever the table says of its name.
func (o Operation) Parameters() []Parameter {
	var out []Parameter
	for _, f := range reflect.VisibleFields(o.Params) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "" || name == "-" {
			continue
		}
		p := ParameterNamed(name)
		p.Type, p.Optional = f.Type, strings.Contains(options, "omit")
		if f.Tag.Get("default") == "none" {
			p.Default = nil
		}
		out = append(out, p)
	}
	return out
}
