package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newEnvPrune(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "prune",
		Short:             "Remove cached environments, downloads and templates that nothing uses",
		Example:           "  pyro env prune",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.PruneEnvironmentsResult, error) {
				return p.PruneEnvironments(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				for _, name := range result.Removed {
					fmt.Fprintln(w, "removed", name)
				}
				fmt.Fprintln(w, "freed", size(result.FreedBytes))
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
