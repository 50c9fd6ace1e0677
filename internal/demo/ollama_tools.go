package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/chat"
	"github.com/pyro-mcp/pyro/mcpserver"
)

// textLimit is how much of a tool's result the model is sent.
const textLimit = 8 << 10

// tools are those of the MCP server's task profile, called as any client calls them. Nobody confirms a call
// in this demo, so what reaches beyond a VM is not offered, and no task is touched but those that the model
// made.
type tools struct {
	engine  *pyro.Pyro
	o       OllamaOptions
	session *mcp.ClientSession
	served  chan error
	offered []chat.Tool
	schemas map[string]*jsonschema.Resolved
	tasks   map[string]bool
	ready   bool   // the environment is installed
	found   string // the version of git that a command in a VM printed
}

// openTools begins a session with a server of its own.
func openTools(ctx context.Context, p *pyro.Pyro, o OllamaOptions) (*tools, error) {
	here, there := mcp.NewInMemoryTransports()
	t := &tools{
		engine:  p,
		o:       o,
		served:  make(chan error, 1),
		schemas: map[string]*jsonschema.Resolved{},
		tasks:   map[string]bool{},
	}
	server := mcpserver.CreateServer(p, mcpserver.Options{
		Profile: mcpserver.ProfileTask,
		Policy:  mcpserver.Policy{SourceRoots: []string{}},
	})
	serving := context.WithoutCancel(ctx) // it ends with the session, once that has cleaned up
	go func() { t.served <- server.Run(serving, there) }()
	var err error
	if t.session, err = mcp.NewClient(&mcp.Implementation{Name: "pyro-demo-ollama"}, nil).Connect(serving,
		here, nil); err != nil {
		return nil, fmt.Errorf("cannot open the tools: %w", err)
	}
	list, err := t.session.ListTools(ctx, nil)
	if err == nil {
		err = t.offer(list.Tools)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot list the tools: %w", err), t.close(serving))
	}
	return t, nil
}

func (t *tools) offer(list []*mcp.Tool) error {
	for _, tool := range list {
		raw, err := json.Marshal(tool.InputSchema)
		if err != nil {
			return err
		}
		var schema jsonschema.Schema
		if err := json.Unmarshal(raw, &schema); err != nil {
			return err
		}
		if t.schemas[tool.Name], err = schema.Resolve(nil); err != nil {
			return fmt.Errorf("%s: %w", tool.Name, err)
		}
		t.offered = append(t.offered, chat.Tool{Name: tool.Name, Description: tool.Description,
			Parameters: &schema})
	}
	return nil
}

// called is what became of a call: what the model is told, and what was wrong with it, if anything.
type called struct {
	text    string
	trouble Outcome
	ran     bool
}

// decode reads a call's arguments, which are nil if they are no JSON object, and gives a key that is the
// same for the same call.
func decode(c chat.Call) (map[string]any, string) {
	arguments := map[string]any{}
	if strings.TrimSpace(c.Arguments) != "" {
		if err := json.Unmarshal([]byte(c.Arguments), &arguments); err != nil || arguments == nil {
			return nil, c.Name + " " + c.Arguments
		}
	}
	sorted, err := json.Marshal(arguments)
	if err != nil {
		return nil, c.Name + " " + c.Arguments
	}
	return arguments, c.Name + " " + string(sorted)
}

// call checks a call, and makes it if it is sound.
func (t *tools) call(ctx context.Context, name string, arguments map[string]any) (called, error) {
	schema := t.schemas[name]
	if schema == nil {
		return called{trouble: UnknownTool, text: fmt.Sprintf("There is no tool %q. The tools are: %s.",
			clip(name, 64), strings.Join(slices.Sorted(maps.Keys(t.schemas)), ", "))}, nil
	}
	if arguments == nil {
		return called{trouble: MalformedArguments, text: "The arguments of " + name +
			" are not a JSON object. Call it again with one."}, nil
	}
	if err := schema.Validate(arguments); err != nil {
		return called{trouble: WrongArguments,
			text: clip(fmt.Sprintf("The arguments of %s do not fit: %v. Correct them and call it again.",
				name, err), textLimit)}, nil
	}
	if id, ok := arguments["task_id"].(string); ok && !t.tasks[id] {
		return called{trouble: WrongArguments,
				text: fmt.Sprintf("There is no task %q: use a task_id that task_create returned.",
					clip(id, 64))},
			nil
	}
	if name == "vm_run" || name == "task_create" {
		if err := t.install(ctx); err != nil {
			return called{}, err
		}
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	result, err := t.session.CallTool(limited, &mcp.CallToolParams{Name: name, Arguments: arguments})
	switch {
	case ctx.Err() != nil:
		return called{}, ctx.Err()
	case limited.Err() != nil:
		return called{ran: true, trouble: ToolFailed,
			text: fmt.Sprintf("%s gave no result within %v.", name, callLimit)}, nil
	case err != nil:
		return called{}, fmt.Errorf("cannot call tool %q: %w", name, err)
	}
	return t.learn(name, result), nil
}

// learn takes from a result what the demo must know.
func (t *tools) learn(name string, result *mcp.CallToolResult) called {
	c := called{ran: true}
	for _, content := range result.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			c.text += text.Text
		}
	}
	c.text = clip(c.text, textLimit)
	if result.IsError {
		c.trouble = ToolFailed
		if strings.HasPrefix(c.text, "["+pyro.ErrorKind(pyro.ErrGuestUnavailable)+"]") {
			c.trouble = NoGuest
		}
		return c
	}
	var is struct {
		TaskID   string `json:"task_id"`
		ExitCode *int   `json:"exit_code"`
		Stdout   string `json:"stdout"`
	}
	raw, err := json.Marshal(result.StructuredContent)
	if err != nil || json.Unmarshal(raw, &is) != nil {
		return c
	}
	switch name {
	case "task_create":
		t.tasks[is.TaskID] = true
	case "vm_run", "task_exec":
		if version := gitVersion(is.Stdout); is.ExitCode != nil && *is.ExitCode == 0 && version != "" {
			t.found = version
		}
	}
	return c
}

// gitVersion finds what git --version printed.
func gitVersion(stdout string) string {
	found := regexp.MustCompile(`(?m)^git version (\d+(?:\.\d+)+)`).FindStringSubmatch(stdout)
	if found == nil {
		return ""
	}
	return found[1]
}

// install pulls the environment if it is missing, with progress that a tool's call cannot show.
func (t *tools) install(ctx context.Context) error {
	if t.ready {
		return nil
	}
	if _, err := t.engine.InspectEnvironment(ctx,
		pyro.EnvironmentRequest{Environment: t.o.Environment}); err != nil {
		if _, err := t.engine.PullEnvironment(ctx,
			pyro.PullEnvironmentRequest{Environment: t.o.Environment, Progress: t.o.Progress}); err != nil {
			return err
		}
	}
	t.ready = true
	return nil
}

// close deletes the tasks that the model left, and ends the session.
func (t *tools) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanLimit)
	defer cancel()
	var failed []error
	for id := range t.tasks {
		_, err := t.engine.DeleteTask(ctx, pyro.TaskRequest{TaskID: id})
		failed = append(failed, unlessGone(err))
	}
	failed = append(failed, t.session.Close(), <-t.served)
	return errors.Join(failed...)
}
