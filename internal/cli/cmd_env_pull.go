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
		Use:   "pull NAME",
		Short: "Fetch, verify, build and install an environment",
		Long: `Fetches, verifies, builds and installs an environment. Interrupted at any moment, it leaves either
the old environment or none; what was downloaded is kept for the next pull.

NAME is one of the catalog's, or any container image: HOST/NAME[:TAG][@DIGEST] in a registry,
oci:DIR, oci-archive:FILE or docker-archive:FILE on this host. A tag is resolved once; another
pull says whether it has moved since. Credentials are those that docker login or podman login
keeps.`,
		Example: "  pyro env pull debian:12\n  pyro env pull debian:12 --mirror " +
			"http://ftp.debian.org/debian --force\n" +
			"  pyro env pull docker.io/library/python:3.12-slim",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeEnvironment(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Environment = args[0]
			result, err := with(a, func(p *pyro.Pyro) (pyro.PullEnvironmentResult, error) {
				return withEnvironment(a, func(show func(pyro.PullProgress)) (pyro.PullEnvironmentResult,
					error) {
					request.Progress = show
					return p.PullEnvironment(cmd.Context(), request)
				})
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				e := result.Env
				if !result.Changed {
					fmt.Fprintf(w, "%s is current: version %s\n", e.Name, e.Version)
					return
				}
				of := fmt.Sprintf("%d packages", len(e.Packages))
				if e.Config != nil {
					of = fmt.Sprintf("%d layers", len(e.Layers))
				}
				if result.Repaired {
					fmt.Fprintf(w, "%s was damaged and has been made again\n", e.Name)
				}
				fmt.Fprintf(w, "%s is installed: version %s, %s, kernel %s, image %s\n", e.Name, e.Version,
					of, e.KernelVersion, size(e.ImageBytes))
				if result.PreviousOrigin != "" && result.PreviousOrigin != e.Origin {
					fmt.Fprintf(w, "  it has moved: %s\n            was %s\n", e.Origin,
						result.PreviousOrigin)
				}
				var rows [][]string
				for _, phase := range result.Phases {
					rows = append(rows, []string{"  " + phase.Name, took(phase.DurationMS)})
				}
				table(w, rows...)
			})
		},
	}
	cmd.Flags().StringVar(&request.Mirror, "mirror", "",
		"Debian mirror's `URL` to build from ($PYRO_DEBIAN_MIRROR, else the host's)")
	cmd.Flags().BoolVar(&request.Force, "force", false, "build anew though the installed one is current")
	cmd.Flags().StringArrayVar(&request.InsecureRegistries, "insecure-registry", nil,
		"`HOST[:PORT]` of a registry that may be asked without TLS ($PYRO_INSECURE_REGISTRIES)")
	a.jsonFlag(cmd)
	return cmd
}
