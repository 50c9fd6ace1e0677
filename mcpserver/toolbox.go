package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
)

// toolbox puts tools into one of the SDK's servers.
type toolbox struct {
	*Server
	into     *mcp.Server
	sessions bool
	profile  Profile
}

// call is what a tool may use of the request that it answers.
type call struct {
	session *mcp.ServerSession // nil if the protocol has none
	owned   *owned
}

// tool is one tool: an operation of the engine, in words for a model. What it takes, gives and does to the
// world is the operation's.
type tool struct {
	name, title, description string
	operation                string
	profiles                 []Profile // those that have it, beside full
	required                 []string  // what a model must say, beside what the operation demands
	doing                    string    // what a client is told while it lasts
	prepare                  func(params any)
	finish                   func(c call, params, result any) any
	text                     func(result any) string // nil is the JSON
}

// preparing changes what a model asked for before the operation gets it.
func preparing[In any](change func(*In)) func(any) {
	return func(params any) {
		if in, ok := params.(*In); ok {
			change(in)
		}
	}
}

// finishing changes an operation's result before a model gets it.
func finishing[In, Out any](change func(call, In, *Out)) func(call, any, any) any {
	return func(c call, params, result any) any {
		in, ok := params.(*In)
		out, fits := result.(Out)
		if !ok || !fits {
			return result
		}
		change(c, *in, &out)
		return out
	}
}

// text words a result.
func wording[Out any](word func(Out) string) func(any) string {
	return func(result any) string {
		out, _ := result.(Out)
		return word(out)
	}
}

// tools are all tools, in the order of the documentation.
func tools() []tool {
	return slices.Concat(vmTools(), vmCareTools(), taskTools(), fileTools(), snapshotTools())
}

// fill puts the tools of the box's profile into its server.
func (b *toolbox) fill() {
	for _, t := range tools() {
		if b.profile != ProfileFull && !slices.Contains(t.profiles, b.profile) {
			continue
		}
		if err := b.add(t); err != nil {
			// A mistake in this package, which every test of it would see.
			b.engine.Options().Logger.Error("a tool cannot be offered", "tool", t.name, "error", err)
		}
	}
}

// add puts a tool into the box.
func (b *toolbox) add(t tool) error {
	o, ok := pyro.OperationNamed(t.operation)
	if !ok {
		return errors.New("there is no operation " + t.operation)
	}
	in, err := inputSchema(o, t.required...)
	if err != nil {
		return err
	}
	out, err := outputSchema(o.Result)
	if err != nil {
		return err
	}
	description := &mcp.Tool{
		Name:         t.name,
		Title:        t.title,
		Description:  t.description,
		InputSchema:  in,
		OutputSchema: out,
		Annotations:  annotations(o.Effect, t.title),
	}
	mcp.AddTool(b.into, description,
		func(ctx context.Context, r *mcp.CallToolRequest, in map[string]any) (*mcp.CallToolResult, any,
			error) {
			result, err := b.run(ctx, r, t, o, in)
			if err != nil {
				return nil, nil, errors.New(explain(err))
			}
			answer := &mcp.CallToolResult{}
			if t.text != nil {
				answer.Content = []mcp.Content{&mcp.TextContent{Text: t.text(result)}}
			}
			return answer, result, nil
		})
	return nil
}

// run calls a tool's operation.
func (b *toolbox) run(
	ctx context.Context, r *mcp.CallToolRequest, t tool, o pyro.Operation, in map[string]any,
) (any, error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	params, err := o.Decode(raw)
	if err != nil {
		return nil, err
	}
	if t.prepare != nil {
		t.prepare(params)
	}
	progress := report(ctx, r)
	defer progress.end()
	if t.doing != "" {
		progress.say(t.doing)
	}
	result, err := o.Call(ctx, b.engine, params, pyro.Hooks{Progress: progress.pulling()})
	if err != nil || t.finish == nil {
		return result, err
	}
	c := call{owned: &b.owned}
	if b.sessions {
		c.session = r.Session
	}
	return t.finish(c, params, result), nil
}

// annotations tell a client what a tool does to the world.
func annotations(e pyro.Effect, title string) *mcp.ToolAnnotations {
	a := &mcp.ToolAnnotations{Title: title, OpenWorldHint: new(false), DestructiveHint: new(false)}
	switch e {
	case pyro.EffectReads:
		a.ReadOnlyHint, a.IdempotentHint = true, true
	case pyro.EffectChanges:
		a.OpenWorldHint, a.DestructiveHint = new(true), new(true)
	case pyro.EffectDestroys:
		a.DestructiveHint, a.IdempotentHint = new(true), true
	}
	return a
}
