package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newEnvPush(a *app) *cobra.Command {
	var request pyro.PushEnvironmentRequest
	cmd := &cobra.Command{
		Use:   "push NAME docker://HOST/IMAGE[:TAG]",
		Short: "Bring an installed environment into a registry, as an image",
		Long: `Brings an installed environment into a registry, as an OCI image with one layer, and prints the
image's name with its digest: other machines pull that instead of building. Credentials are those
that docker login or podman login keeps. What the registry has already does not go there again.`,
		Example: `  pyro env push prepared docker://registry.example.com/team/prepared:1
  pyro env pull registry.example.com/team/prepared:1`,
		Args:              exactly("NAME", "docker://HOST/IMAGE[:TAG]"),
		ValidArgsFunction: a.completeEnvironment(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Environment, request.To = args[0], args[1]
			result, err := with(a, func(p *pyro.Pyro) (pyro.PushEnvironmentResult, error) {
				return withEnvironment(a, func(show func(pyro.PullProgress)) (pyro.PushEnvironmentResult,
					error) {
					request.Progress = show
					return p.PushEnvironment(cmd.Context(), request)
				})
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) { fmt.Fprintln(w, result.Reference) })
		},
	}
	cmd.Flags().StringArrayVar(&request.InsecureRegistries, "insecure-registry", nil,
		"`HOST[:PORT]` of a registry that may be asked without TLS ($PYRO_INSECURE_REGISTRIES)")
	a.jsonFlag(cmd)
	return cmd
}

func newEnvRemove(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Aliases: []string{"rm"},
		Short:   "Forget an installed environment",
		Long: `Forgets an installed environment. VMs and snapshots that were made of it go on; its image goes with
the next pyro env prune after them.`,
		Example:           "  pyro env remove prepared && pyro env prune",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeEnvironment(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.RemoveEnvironmentResult, error) {
				return p.RemoveEnvironment(cmd.Context(), pyro.EnvironmentRequest{Environment: args[0]})
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) { fmt.Fprintln(w, "removed", result.Environment) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
