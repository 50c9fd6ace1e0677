package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newEnvWarm(a *app) *cobra.Command {
	vcpus, memory := number{pyro.DefaultVCPUCount, 1}, mebibytes{pyro.DefaultMemMiB, 1}
	var network bool
	cmd := &cobra.Command{
		Use:               "warm NAME",
		Short:             "Boot an environment once and freeze it, so that VMs of its shape start warm",
		Example:           "  pyro env warm debian:12\n  pyro env warm debian:12 --mem-mib 2048 --network",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeEnvironment(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.WarmEnvironmentResult, error) {
				return withEnvironment(a, func(func(pyro.PullProgress)) (pyro.WarmEnvironmentResult, error) {
					return p.WarmEnvironment(cmd.Context(), pyro.WarmEnvironmentRequest{
						Environment: args[0],
						VCPUCount:   vcpus.value,
						MemMiB:      memory.value,
						Network:     network,
					})
				})
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				fmt.Fprintf(w, "%s is warm: %s, %s\n", result.Environment, size(result.Bytes),
					took(result.DurationMS))
			})
		},
	}
	cmd.Flags().Var(&vcpus, "vcpu-count", "virtual CPUs")
	cmd.Flags().Var(&memory, "mem-mib", "memory in MiB")
	cmd.Flags().BoolVar(&network, "network", false, "with a network device")
	a.jsonFlag(cmd)
	return cmd
}
