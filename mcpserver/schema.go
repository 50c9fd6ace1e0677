package mcpserver

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/pyro-mcp/pyro"
)

// bound is what a parameter's schema says beyond its type.
type bound struct {
	standard       any
	least, most    float64
	words, example []any
}

// bounds gives the contract's defaults, and limits within which an argument can make sense.
func bounds() map[string]bound {
	const day = 24 * 3600
	return map[string]bound{
		"environment":       {example: []any{"debian:12", "debian:12-build"}},
		"vcpu_count":        {standard: pyro.DefaultVCPUCount, least: 1, most: 64},
		"mem_mib":           {standard: pyro.DefaultMemMiB, least: 64, most: 1 << 20},
		"disk_mib":          {standard: pyro.DefaultDiskMiB, least: 64, most: 1 << 24},
		"ttl_seconds":       {standard: pyro.DefaultTTLSeconds, least: 0, most: 365 * day},
		"timeout_seconds":   {standard: pyro.DefaultTimeoutSeconds, least: 0, most: 7 * day},
		"network":           {standard: false},
		"allow_host_compat": {standard: false},
		"command":           {example: []any{"git --version", "cd /workspace && make test"}},
		"offset_bytes":      {standard: 0, least: 0, most: 1 << 40},
		"max_bytes":         {standard: streamLimit, least: 1, most: 1 << 20},
		"sequence":          {least: 0, most: 1 << 40},
	}
}

// inputSchema derives a tool's parameters from its request, with the contract's defaults. Argument vectors are for
// the other faces: a model writes a shell's command line.
func inputSchema[In any](required ...string) (*jsonschema.Schema, error) {
	s, err := jsonschema.For[In](nil)
	if err != nil {
		return nil, err
	}
	for _, vector := range []string{"argv", "entrypoint"} {
		delete(s.Properties, vector)
		s.PropertyOrder = slices.DeleteFunc(s.PropertyOrder, func(name string) bool { return name == vector })
	}
	limits := bounds()
	for name, property := range s.Properties {
		// A parameter that may be left out need not be null as well.
		if len(property.Types) == 2 && property.Types[0] == "null" {
			property.Type, property.Types = property.Types[1], nil
		}
		if b, ok := limits[name]; ok {
			if err := b.apply(property); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
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

func (b bound) apply(s *jsonschema.Schema) error {
	if b.standard != nil {
		raw, err := json.Marshal(b.standard)
		if err != nil {
			return err
		}
		s.Default = raw
	}
	if b.most > 0 {
		s.Minimum, s.Maximum = &b.least, &b.most
	}
	s.Enum, s.Examples = b.words, b.example
	return nil
}

// outputSchema derives a tool's result. It lets later versions add fields, and says which words a field may hold.
func outputSchema[Out any]() (*jsonschema.Schema, error) {
	s, err := jsonschema.For[Out](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[map[string]string](): {Types: []string{"null", "object"}, AdditionalProperties: &jsonschema.Schema{Type: "string"}},
	}})
	if err != nil {
		return nil, err
	}
	openSchema(s)
	return s, nil
}

// openSchema lifts the ban on additional fields, at every depth, and writes "may be null" in the way that most
// clients understand: as alternatives of one type each.
func openSchema(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 {
		s.AdditionalProperties = nil
	}
	for name, p := range s.Properties {
		if words := outputWords(name); words != nil && p.Type == "string" {
			p.Description = fmt.Sprintf("one of %v", words)
		}
		openSchema(p)
	}
	openSchema(s.Items)
	if len(s.Types) == 2 && s.Types[0] == "null" {
		value := *s
		value.Type, value.Types, value.Description = s.Types[1], nil, ""
		*s = jsonschema.Schema{Description: s.Description, AnyOf: []*jsonschema.Schema{{Type: "null"}, &value}}
	}
}

func outputWords(field string) []string {
	switch field {
	case "state":
		return []string{"created", "started", "stopped"}
	case "execution_mode":
		return []string{"guest", "host_compat"}
	case "accelerator":
		return []string{"kvm", "tcg"}
	}
	return nil
}
