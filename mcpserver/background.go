package mcpserver

import (
	"fmt"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/pyro-mcp/pyro"
)

// backgroundKey is the parameter by which a model asks for the background.
const backgroundKey = "background"

// offerBackground adds the parameter to a tool's schema, and what the operation gives that is then called to
// its result's: what only one of both gives is not promised.
func offerBackground(operation string, in, out *jsonschema.Schema) error {
	o, ok := pyro.OperationNamed(operation)
	if !ok {
		return fmt.Errorf("there is no operation %s", operation)
	}
	other, err := outputSchema(o.Result)
	if err != nil {
		return err
	}
	in.Properties[backgroundKey] = &jsonschema.Schema{
		Type: "boolean",
		Description: "return at once with a command_id while the command goes on; there is then no time " +
			"limit unless timeout_seconds is given",
	}
	in.PropertyOrder = append(in.PropertyOrder, backgroundKey)
	for _, name := range other.PropertyOrder {
		if p := out.Properties[name]; p == nil || p.Type != other.Properties[name].Type {
			out.Properties[name] = other.Properties[name]
		}
		if !slices.Contains(out.PropertyOrder, name) {
			out.PropertyOrder = append(out.PropertyOrder, name)
		}
	}
	out.Required = slices.DeleteFunc(out.Required, func(name string) bool {
		return !slices.Contains(other.Required, name)
	})
	return nil
}

// chosen is what a call is to run, and the arguments of that.
func (t tool) chosen(o pyro.Operation, arguments map[string]any) (tool, pyro.Operation) {
	if t.background == "" {
		return t, o
	}
	wanted := arguments[backgroundKey] == true
	delete(arguments, backgroundKey)
	if !wanted {
		return t, o
	}
	if limit, ok := arguments["timeout_seconds"]; ok {
		arguments["limit_seconds"] = limit
		delete(arguments, "timeout_seconds")
	}
	o, _ = pyro.OperationNamed(t.background) // It is there: the schema was made of it.
	return tool{name: t.name, operation: t.background}, o
}
