package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskDelete(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "delete ID",
		Short:             "End a task and remove all that it kept",
		Example:           "  pyro task delete \"$id\"",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.DeleteResult, error) {
				result, err := p.DeleteTask(cmd.Context(), pyro.TaskRequest{TaskID: args[0]})
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) { fmt.Fprintln(w, "deleted", args[0]) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
