package cli

import "github.com/spf13/cobra"

func newMCP(a *app) *cobra.Command {
	return parent("mcp", "Serve the tools to a model, over the Model Context Protocol", "",
		"  pyro mcp serve\n  pyro mcp config claude-code", newMCPServe(a), newMCPConfig(a))
}
