package cli

import (
	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

// loginShell starts the shell that the guest's user has.
const loginShell = `exec "${SHELL:-/bin/sh}" -l`

func never() bool { return false }

func newTaskShell(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shell ID",
		Short: "Open the user's shell in a task, on a terminal",
		Long: `Opens the shell of the environment's user in /workspace of a task, on a terminal. The exit status
is the shell's own.`,
		Example:           "  pyro task shell \"$id\"",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			argv := []string{"/bin/sh", "-c", loginShell}
			tty := &terminalFlags{terminal: true, timed: never}
			line, restore := a.commandLine(cmd.Context(), argv, &duration{}, tty)
			defer restore()
			result, err := with(a, func(p *pyro.Pyro) (pyro.ExecTaskResult, error) {
				request := pyro.ExecTaskRequest{TaskID: args[0], CommandLine: line}
				result, err := p.ExecTask(cmd.Context(), request)
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			restore()
			return a.ended(result, result.Output, err)
		},
	}
	runsCommand(cmd)
	return cmd
}
