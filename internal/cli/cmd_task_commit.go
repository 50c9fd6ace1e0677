package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskCommit(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "commit ID NAME",
		Short: "Make an environment of a task's disk",
		Long: `Make an installed environment of a task's disk, /workspace included: prepare once, then make as
many tasks of it as you like, each from a clean start. Commands in the task stand still while its
files are read. NAME is used like any other environment's; one that was committed before is
replaced, and what uses that goes on with it. pyro env push brings it into a registry, for other
machines.

Memory and processes are not in it: see pyro task snapshot for those.`,
		Example: `  pyro task commit "$id" prepared
  pyro run prepared -- make test`,
		Args:              exactly("ID", "NAME"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := with(a, func(p *pyro.Pyro) (pyro.CommitTaskResult, error) {
				r, err := p.CommitTask(cmd.Context(), pyro.CommitTaskRequest{
					TaskID:      args[0],
					Environment: args[1],
				})
				return r, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s is installed: version %s, image %s\n", r.Env.Name, r.Env.Version,
					size(r.Env.ImageBytes))
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
