package cli

import (
	"cmp"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newEnvList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls"},
		Short:             "List the environments: the catalog, and what else is installed",
		Example:           "  pyro env list\n  pyro env list --json",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.ListEnvironmentsResult, error) {
				return p.ListEnvironments(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				rows := [][]string{{"NAME", "VERSION", "INSTALLED", "DESCRIPTION"}}
				for _, e := range result.Environments {
					rows = append(rows, []string{e.Name, e.Version, yesNo(e.Installed),
						cmp.Or(e.Problem, e.Description)})
				}
				table(w, rows...)
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
