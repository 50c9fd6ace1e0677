package cli

import (
	"io"
	"strconv"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskList(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:               "list",
		Short:             "List the tasks and VMs that there are",
		Example:           "  pyro task list",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.ListVMsResult, error) {
				return p.ListVMs(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				rows := [][]string{{"ID", "KIND", "ENVIRONMENT", "STATE", "COMMANDS", "EXPIRES"}}
				for _, t := range result.Tasks {
					rows = append(rows, []string{t.TaskID, "task", t.Environment, t.State,
						strconv.Itoa(t.CommandCount), moment(t.ExpiresAt)})
				}
				for _, v := range result.VMs {
					rows = append(rows, []string{v.VMID, "vm", v.Environment, v.State, "",
						moment(v.ExpiresAt)})
				}
				for _, v := range result.Spares {
					if all {
						rows = append(rows, []string{v.VMID, "spare", v.Environment, v.State, "",
							moment(v.ExpiresAt)})
					}
				}
				table(w, rows...)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also the spares that --keep-warm leaves for the next run")
	a.jsonFlag(cmd)
	return cmd
}
