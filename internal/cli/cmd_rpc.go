package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

func newRPC(*app) *cobra.Command {
	return &cobra.Command{
		Use: "rpc", Short: "Speak JSON-RPC on stdin and stdout, for other languages", Hidden: true,
		Args: exactly(),
		RunE: func(*cobra.Command, []string) error { return errors.New("rpc is not there yet") },
	}
}
