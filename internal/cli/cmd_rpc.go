package cli

import (
	"os/signal"
	"syscall"

	"github.com/pyro-mcp/pyro/internal/rpc"
	"github.com/spf13/cobra"
)

func newRPC(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "rpc",
		Short:  "Speak JSON-RPC on stdin and stdout, for other languages",
		Hidden: true,
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A client that goes away must not take us with it before its commands are ended.
			signal.Ignore(syscall.SIGPIPE)
			p, err := a.engine()
			if err != nil {
				return err
			}
			defer p.Close()
			return rpc.Serve(cmd.Context(), p, a.version, a.stdin, a.stdout)
		},
	}
}
