package cli

import (
	"strings"

	"github.com/pyro-mcp/pyro"
)

// wording words remedies for who types commands.
func wording() pyro.Wording {
	return pyro.Wording{Parameter: flagOf, Do: run, Setting: variable}
}

// flagOf is the flag of a parameter.
func flagOf(parameter string) string {
	switch parameter {
	case "command":
		return "words after --"
	case "insecure_registries":
		return "--insecure-registry"
	}
	return "--" + strings.ReplaceAll(parameter, "_", "-")
}

// run is the command to give for an operation.
func run(operation string) string {
	return "run 'pyro " + commandOf(operation) + "'"
}

// commandOf is the command of an operation that a remedy may name.
func commandOf(operation string) string {
	switch operation {
	case "list_environments":
		return "env list"
	case "pull_environment":
		return "env pull NAME"
	case "prune_environments", "reap_expired":
		return "env prune"
	case "fork_task":
		return "task fork NAME"
	case "list_snapshots":
		return "snapshot list"
	case "list_vms", "start_vm":
		return "task list"
	}
	return operation
}

// variable is the variable of the environment that sets an option, or how else the command line has it.
func variable(option string) string {
	switch option {
	case "command":
		return "its full path"
	case "accelerator":
		return "--accelerator"
	}
	return "PYRO_" + strings.ToUpper(option)
}
