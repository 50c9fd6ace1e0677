package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

func newMCPServe(*app) *cobra.Command {
	return &cobra.Command{Use: "serve", Short: "Serve MCP over stdio", Args: exactly(),
		RunE: func(*cobra.Command, []string) error { return errors.New("not there yet") }}
}
