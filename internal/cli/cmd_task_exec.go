package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskExec(a *app) *cobra.Command {
	var timeout *duration
	var tty terminalFlags
	var settings settingsFlags
	var detach bool
	var name string
	cmd := &cobra.Command{
		Use:   "exec ID -- COMMAND [ARGUMENT...]",
		Short: "Run one command in a task, in /workspace; the task lives on",
		Long: `Runs one command in a task, in /workspace; the task lives on. The words after -- reach the guest
as they are; use sh -c for a shell's command line. Input, output and the exit status are the
command's own.

` + exitCodes,
		Example: "  pyro task exec \"$id\" -- make test\n" +
			"  pyro task exec \"$id\" --timeout-seconds 600 -- sh -c 'npm ci && npm test'\n" +
			"  pyro task exec -it \"$id\" -- python3",
		Args:              nameAndCommand("ID"),
		ValidArgsFunction: a.completeTask(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			if detach {
				var own pyro.CommandLine
				if err := settings.apply(&own); err != nil {
					return err
				}
				return a.startDetached(cmd, pyro.StartCommandRequest{
					TaskID: args[0],
					Name:   name,
					Argv:   args[1:],

					CommandSettings: own.CommandSettings,
					Secrets:         own.Secrets,
					LimitSeconds:    detachedLimit(cmd, timeout),
				})
			}
			line, restore := a.commandLine(cmd.Context(), args[1:], timeout, &tty)
			defer restore()
			if err := settings.apply(&line); err != nil {
				return err
			}
			result, err := with(a, func(p *pyro.Pyro) (pyro.ExecTaskResult, error) {
				request := pyro.ExecTaskRequest{TaskID: args[0], CommandLine: line}
				result, err := p.ExecTask(cmd.Context(), request)
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			restore()
			return a.ended(result, result.Output, err)
		},
	}
	timeout = timeoutFlag(cmd)
	tty.add(cmd)
	settings.addCommand(cmd)
	runsCommand(cmd)
	cmd.Flags().BoolVarP(&detach, "detach", "d", false,
		"leave the command running and print its id; there is then no time limit unless one is set")
	cmd.Flags().StringVar(&name, "name", "", "with --detach: the `NAME` that the command is to be called by")
	a.jsonFlag(cmd)
	return cmd
}

// detachedLimit is a background command's limit: none unless one is set.
func detachedLimit(cmd *cobra.Command, timeout *duration) int {
	if cmd.Flags().Changed("timeout-seconds") {
		return timeout.value
	}
	return 0
}

// startDetached leaves a command running and prints its id.
func (a *app) startDetached(cmd *cobra.Command, r pyro.StartCommandRequest) error {
	c, err := with(a, func(p *pyro.Pyro) (pyro.Command, error) {
		c, err := p.StartCommand(cmd.Context(), r)
		return c, knownTask(cmd.Context(), p, r.TaskID, err)
	})
	if err != nil {
		return err
	}
	return a.print(c, func(w io.Writer) { fmt.Fprintln(w, c.CommandID) })
}
