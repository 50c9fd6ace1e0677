package cli

import (
	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskExec(a *app) *cobra.Command {
	var timeout *number
	cmd := &cobra.Command{
		Use:   "exec ID -- COMMAND [ARGUMENT...]",
		Short: "Run one command in a task, in /workspace; the task lives on",
		Long: `Runs one command in a task, in /workspace; the task lives on. The words after -- reach the guest
as they are; use sh -c for a shell's command line. Input, output and the exit status are the
command's own.

` + exitCodes,
		Example: "  pyro task exec \"$id\" -- make test\n" +
			"  pyro task exec \"$id\" --timeout-seconds 600 -- sh -c 'npm ci && npm test'",
		Args:              nameAndCommand("ID"),
		ValidArgsFunction: a.completeTask(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.ExecTaskResult, error) {
				result, err := p.ExecTask(cmd.Context(),
					pyro.ExecTaskRequest{TaskID: args[0], CommandLine: a.commandLine(args[1:], timeout)})
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			return a.ended(result, result.Output, err)
		},
	}
	timeout = timeoutFlag(cmd)
	a.jsonFlag(cmd)
	return cmd
}
