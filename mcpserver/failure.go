package mcpserver

import (
	"context"
	"errors"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// wordingForModels words remedies for a model: by its tools, or by what it can ask the user for.
func wordingForModels(p Policy) pyro.Wording {
	hidden := p.withheld()
	return pyro.Wording{
		Model: true,
		Parameter: func(name string) string {
			if flag := hidden[name]; flag != "" {
				return name + " (which the user would have to allow: `pyro mcp serve " + flag + "`)"
			}
			return name
		},
		Do: func(operation string) string {
			for _, t := range tools() {
				if t.operation == operation {
					return "call " + t.name
				}
			}
			command := map[string]string{
				"prune_environments": "env prune",
				"pull_environment":   "env pull NAME",
				"list_snapshots":     "snapshot list",
				"list_vms":           "task list",
			}[operation]
			if command == "" {
				command = operation
			}
			return "ask the user to run `pyro " + command + "`"
		},
		Setting: func(option string) string {
			return "PYRO_" + strings.ToUpper(option) + ", which is the user's to set"
		},
	}
}

// explain words a failure for a model: what failed, and what to do next.
func explain(err error, p Policy) string {
	var denied *denial
	var waiting *installing
	switch {
	case errors.Is(err, context.Canceled):
		return "The call was cancelled, and its command killed."
	case errors.As(err, &denied):
		return "[denied] " + denied.Error() + "."
	case errors.As(err, &waiting):
		return "[installing] " + waiting.Error() + "."
	}
	text := "[" + pyro.ErrorKind(err) + "] " + strings.TrimSuffix(err.Error(), ".") + "."
	if remedy := pyro.ErrorRemedy(err, wordingForModels(p)); remedy != "" {
		text += " " + strings.ToUpper(remedy[:1]) + remedy[1:] + "."
	}
	return text
}
