package mcpserver

//lint:file-ignore SA1019 Roots are on their way out, and what the clients of today have.

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
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
	background               string    // the operation in its place if a model asks for the background
	profiles                 []Profile // those that have it, beside full
	required                 []string  // what a model must say, beside what the operation demands
	doing                    string    // what a client is told while it lasts
	prepare                  func(params any)
	finish                   func(c call, params, result any) any
	text                     func(result any) string // nil is the JSON
	notes                    []note                  // said of parameters, if they are shown
}

// note is a sentence of a tool's description that is about one parameter.
type note struct{ parameter, text string }

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
	return slices.Concat(runTools(), vmTools(), taskTools(), listTools(), shellTools(), backgroundTools(),
		fileTools(), snapshotTools())
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
	hidden := b.options.Policy.withheld()
	in, err := inputSchema(o, hidden, t.required...)
	if err != nil {
		return err
	}
	out, err := outputSchema(o.Result)
	if err == nil && t.background != "" {
		err = offerBackground(t.background, in, out)
	}
	if err != nil {
		return err
	}
	resolved, err := in.Resolve(nil)
	if err != nil {
		return err
	}
	shown, err := withProperties(in)
	if err != nil {
		return err
	}
	description := &mcp.Tool{
		Name:         t.name,
		Title:        t.title,
		Description:  t.words(in),
		InputSchema:  shown,
		OutputSchema: out,
		Annotations:  annotations(o.Effect, t.title),
	}
	if t.text != nil {
		description.Meta = mcp.Meta{"anthropic/maxResultSizeChars": resultLimit}
	}
	b.into.AddTool(
		description,
		func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			arguments, err := argue(r.Params.Arguments, hidden, resolved)
			if err == nil {
				roots, ask := b.roots(r, arguments)
				if ask {
					return &mcp.CallToolResult{
						InputRequests: mcp.InputRequestMap{rootsKey: &mcp.ListRootsParams{}},
					}, nil
				}
				err = b.admit(ctx, roots, arguments)
			}
			var result any
			t, o := t.chosen(o, arguments)
			if err == nil {
				result, err = b.run(ctx, r, t, o, arguments)
			}
			if err != nil {
				return b.failed(err), nil
			}
			return t.answer(result)
		},
	)
	return nil
}

// words are a tool's description, with what is to be said of parameters that are shown.
func (t tool) words(in *jsonschema.Schema) string {
	text := t.description
	for _, n := range t.notes {
		if in.Properties[n.parameter] != nil {
			text += " " + n.text
		}
	}
	return text
}

// argue reads a call's arguments.
func argue(
	raw json.RawMessage,
	hidden map[string]string,
	schema *jsonschema.Resolved,
) (map[string]any, error) {
	arguments := map[string]any{}
	if len(raw) > 0 && string(raw) != "null" {
		if err := json.Unmarshal(raw, &arguments); err != nil {
			return nil, &pyro.Error{Kind: pyro.ErrInvalid, Message: "the arguments are not a JSON object"}
		}
	}
	if err := strip(arguments, hidden); err != nil {
		return nil, err
	}
	if err := schema.Validate(arguments); err != nil {
		return nil, &pyro.Error{Kind: pyro.ErrInvalid, Message: err.Error()}
	}
	return arguments, nil
}

// failed words a failure as a result.
func (b *toolbox) failed(err error) *mcp.CallToolResult {
	return &mcp.CallToolResult{
		Content: []mcp.Content{&mcp.TextContent{Text: explain(err, b.options.Policy)}},
		IsError: true,
	}
}

// answer puts a result into its two forms.
func (t tool) answer(result any) (*mcp.CallToolResult, error) {
	raw, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	text := string(raw)
	if t.text != nil {
		text = t.text(result)
	}
	return &mcp.CallToolResult{
		Content:           []mcp.Content{&mcp.TextContent{Text: text}},
		StructuredContent: json.RawMessage(raw),
	}, nil
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
	environment, _ := in["environment"].(string)
	if err := b.pulls.ensure(ctx, environment, progress); err != nil {
		return nil, err
	}
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
