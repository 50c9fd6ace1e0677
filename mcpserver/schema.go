package mcpserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/pyro-mcp/pyro"
)

// inputSchema derives a tool's parameters from its request, with the contract's defaults, without those that
// are hidden. Argument vectors are for the other faces: a model writes a shell's command line.
func inputSchema(o pyro.Operation, hidden map[string]string, required ...string) (*jsonschema.Schema, error) {
	s, err := jsonschema.ForType(o.Params, nil)
	if err != nil {
		return nil, err
	}
	never := []string{"argv", "entrypoint", "keep_warm", "outputs", "secrets"}
	for _, name := range slices.AppendSeq(never, maps.Keys(hidden)) {
		delete(s.Properties, name)
		s.PropertyOrder = slices.DeleteFunc(s.PropertyOrder, func(other string) bool { return name == other })
	}
	for _, p := range o.Parameters() {
		property := s.Properties[p.Name]
		if property == nil {
			continue
		}
		// A parameter that may be left out need not be null as well.
		if len(property.Types) == 2 && property.Types[0] == "null" {
			property.Type, property.Types = property.Types[1], nil
		}
		if err := limit(property, p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	for _, name := range required {
		if s.Properties[name] == nil {
			return nil, fmt.Errorf("no parameter %q", name)
		}
		if !slices.Contains(s.Required, name) {
			s.Required = append(s.Required, name)
		}
		if s.Properties[name].Type == "string" {
			s.Properties[name].MinLength = new(1)
		}
	}
	return s, nil
}

// withProperties is a schema as it is shown. It always has properties: some clients fail without.
func withProperties(s *jsonschema.Schema) (json.RawMessage, error) {
	raw, err := json.Marshal(s)
	if err != nil || len(s.Properties) > 0 {
		return raw, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	fields["properties"] = json.RawMessage("{}")
	return json.Marshal(fields)
}

// limit writes what the engine declares of a parameter into its schema.
func limit(s *jsonschema.Schema, p pyro.Parameter) error {
	if p.Default != nil {
		raw, err := json.Marshal(p.Default)
		if err != nil {
			return err
		}
		s.Default = raw
	}
	if p.Max > 0 {
		s.Minimum, s.Maximum = new(float64(p.Min)), new(float64(p.Max))
	}
	for _, word := range p.Words {
		s.Enum = append(s.Enum, word)
	}
	for _, example := range p.Examples {
		s.Examples = append(s.Examples, example)
	}
	return nil
}

// outputSchema derives a tool's result. It lets later versions add fields, and says which words a field may
// hold.
func outputSchema(result reflect.Type) (*jsonschema.Schema, error) {
	s, err := jsonschema.ForType(
		result,
		&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
			// As encoding/json writes it, though the package for schemas sees a list of numbers.
			reflect.TypeFor[[]byte](): {Type: "string", ContentEncoding: "base64"},
			reflect.TypeFor[map[string]string](): {
				Types:                []string{"null", "object"},
				AdditionalProperties: &jsonschema.Schema{Type: "string"},
			},
		}},
	)
	if err != nil {
		return nil, err
	}
	openSchema(s)
	return s, nil
}

// openSchema lifts the ban on additional fields, at every depth, and writes "may be null" in the way that
// most clients understand: as alternatives of one type each.
func openSchema(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 {
		s.AdditionalProperties = nil
	}
	for name, p := range s.Properties {
		if words := pyro.Vocabulary(name); words != nil && p.Type == "string" {
			p.Description = "one of " + strings.Join(words, ", ")
			if name == "accelerator" {
				p.Description += "; empty before the start"
			}
		}
		openSchema(p)
	}
	openSchema(s.Items)
	if len(s.Types) == 2 && s.Types[0] == "null" {
		value := *s
		value.Type, value.Types, value.Description = s.Types[1], nil, ""
		*s = jsonschema.Schema{
			Description: s.Description,
			AnyOf:       []*jsonschema.Schema{{Type: "null"}, &value},
		}
	}
}
