package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newEnvPull(a *app) *cobra.Command {
	var request pyro.PullEnvironmentRequest
	cmd := &cobra.Command{
		Use: "pull NAME", Short: "Fetch, verify, build and install an environment",
		Long: `Fetches, verifies, builds and installs an environment. Interrupted at any moment, it leaves either the old
environment or none; what was downloaded is kept for the next pull.`,
		Example: "  pyro env pull debian:12\n  pyro env pull debian:12 --mirror http://ftp.debian.org/debian --force",
		Args:    exactly("NAME"), ValidArgsFunction: a.completeEnvironment(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Environment = args[0]
			result, err := with(a, func(p *pyro.Pyro) (pyro.PullEnvironmentResult, error) {
				return withEnvironment(cmd.Context(), a, p, args[0], func(show func(pyro.PullProgress)) (pyro.PullEnvironmentResult, error) {
					request.Progress = show
					return p.PullEnvironment(cmd.Context(), request)
				})
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				if !result.Changed {
					fmt.Fprintf(w, "%s is current: version %s\n", result.Env.Name, result.Env.Version)
					return
				}
				e := result.Env
				fmt.Fprintf(w, "%s is installed: version %s, %d packages, kernel %s, image %s\n",
					e.Name, e.Version, len(e.Packages), e.KernelVersion, size(e.ImageBytes))
				var rows [][]string
				for _, phase := range result.Phases {
					rows = append(rows, []string{"  " + phase.Name, took(phase.DurationMS)})
				}
				table(w, rows...)
			})
		},
	}
	cmd.Flags().StringVar(&request.Mirror, "mirror", "", "Debian mirror to build from ($PYRO_DEBIAN_MIRROR, else the host's)")
	cmd.Flags().BoolVar(&request.Force, "force", false, "build anew though the installed one is current")
	a.jsonFlag(cmd)
	return cmd
}
