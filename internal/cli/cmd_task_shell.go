package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

// loginShell starts the shell that the guest's user has.
const loginShell = `exec "${SHELL:-/bin/sh}" -l`

func never() bool { return false }

func newTaskShell(a *app) *cobra.Command {
	var detach bool
	var name string
	cmd := &cobra.Command{
		Use:   "shell ID",
		Short: "Open the user's shell in a task, on a terminal",
		Long: `Opens the shell of the environment's user in /workspace of a task, on a terminal. The exit status
is the shell's own.`,
		Example: "  pyro task shell \"$id\"\n" +
			"  s=$(pyro task shell --detach \"$id\") && pyro task attach \"$id\" \"$s\"",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if detach {
				return a.openDetached(cmd, pyro.OpenShellRequest{TaskID: args[0], Name: name})
			}
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
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "leave the shell running and print its id")
	cmd.Flags().StringVar(&name, "name", "", "with --detach: the `NAME` that the shell is to be called by")
	a.jsonFlag(cmd)
	return cmd
}

// openDetached leaves a shell running and prints its id.
func (a *app) openDetached(cmd *cobra.Command, r pyro.OpenShellRequest) error {
	c, err := with(a, func(p *pyro.Pyro) (pyro.Command, error) {
		c, err := p.OpenShell(cmd.Context(), r)
		return c, knownTask(cmd.Context(), p, r.TaskID, err)
	})
	if err != nil {
		return err
	}
	return a.print(c, func(w io.Writer) { fmt.Fprintln(w, c.CommandID) })
}
