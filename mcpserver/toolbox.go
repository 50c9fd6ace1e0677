package mcpserver

import (
	"context"
	"errors"

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

// effect is what a tool does to the world, for its annotations.
type effect int

const (
	reads    effect = iota // changes nothing
	makes                  // adds something
	changes                // may change or run anything inside a VM
	destroys               // removes something
)

// call is what an operation may use of the request that it answers.
type call struct {
	session  *mcp.ServerSession // nil where the protocol has none
	progress *reporter
}

// tool is one tool: a name, words for a model, and the operation.
type tool[In, Out any] struct {
	name, title, description string
	effect                   effect
	required                 []string
	do                       func(context.Context, call, In) (Out, error)
	text                     func(Out) string // nil is the JSON
}

// add puts a tool into the box, if the profile has it. A tool whose types make no schema is a mistake in this
// package, which every test of it would see.
func add[In, Out any](b *toolbox, t tool[In, Out]) {
	if !inProfile(b.profile, t.name) {
		return
	}
	in, err := inputSchema[In](t.required...)
	out, errOut := outputSchema[Out]()
	if err != nil || errOut != nil {
		b.engine.Options().Logger.Error("a tool has no schema", "tool", t.name, "input", err, "output", errOut)
		return
	}
	description := &mcp.Tool{
		Name: t.name, Title: t.title, Description: t.description, InputSchema: in, OutputSchema: out, Annotations: t.effect.annotations(t.title),
	}
	mcp.AddTool(b.into, description, func(ctx context.Context, r *mcp.CallToolRequest, in In) (*mcp.CallToolResult, Out, error) {
		c := call{progress: report(ctx, r)}
		if b.sessions {
			c.session = r.Session
		}
		out, err := t.do(ctx, c, in)
		c.progress.end()
		if err != nil {
			var none Out
			return nil, none, errors.New(explain(err))
		}
		result := &mcp.CallToolResult{}
		if t.text != nil {
			result.Content = []mcp.Content{&mcp.TextContent{Text: t.text(out)}}
		}
		return result, out, nil
	})
}

func (e effect) annotations(title string) *mcp.ToolAnnotations {
	a := &mcp.ToolAnnotations{Title: title, OpenWorldHint: new(false), DestructiveHint: new(false)}
	switch e {
	case reads:
		a.ReadOnlyHint, a.IdempotentHint = true, true
	case changes:
		a.OpenWorldHint, a.DestructiveHint = new(true), new(true)
	case destroys:
		a.DestructiveHint, a.IdempotentHint = new(true), true
	}
	return a
}

// pulling gives the engine's hook for a pull that may come first.
func (c call) pulling() func(pyro.PullProgress) {
	if c.progress == nil {
		return nil
	}
	return c.progress.pull
}
