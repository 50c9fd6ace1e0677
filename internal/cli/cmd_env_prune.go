package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newEnvPrune(a *app) *cobra.Command {
	var request pyro.PruneEnvironmentsRequest
	cmd := &cobra.Command{
		Use:               "prune",
		Short:             "Remove cached environments, downloads and templates that nothing uses",
		Example:           "  pyro env prune --dry-run\n  pyro env prune",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.PruneEnvironmentsResult, error) {
				return p.PruneEnvironments(cmd.Context(), request)
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				removed, freed := "removed", "freed"
				if result.DryRun {
					removed, freed = "would remove", "would free"
				}
				for _, name := range result.Removed {
					fmt.Fprintln(w, removed, name)
				}
				fmt.Fprintln(w, freed, size(result.FreedBytes))
			})
		},
	}
	cmd.Flags().BoolVar(&request.DryRun, "dry-run", false, "remove nothing, and say what would go")
	a.jsonFlag(cmd)
	return cmd
}
