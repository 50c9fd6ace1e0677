package rpc

import (
	"strings"

	"github.com/pyro-mcp/pyro"
)

// wording words remedies for programs in Python, and in languages that are like it.
func wording() pyro.Wording {
	return pyro.Wording{
		Parameter: func(name string) string { return name },
		Do: func(operation string) string {
			if operation == "doctor" {
				return "run 'pyro doctor'"
			}
			return "call " + operation + "()"
		},
		Setting: func(option string) string {
			switch option {
			case "command":
				return "binary"
			case "seed_max_bytes", "seed_max_entries", "snapshots_max_bytes":
				return "$PYRO_" + strings.ToUpper(option)
			}
			return option
		},
	}
}
