package cli

import (
	"errors"

	"github.com/pyro-mcp/pyro/internal/demo"
	"github.com/spf13/cobra"
)

func newDemo(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "Show a whole life cycle: a VM, then a task",
		Example: "  pyro demo\n  pyro demo ollama",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return group(cmd, args)
			}
			p, err := a.engine()
			if err != nil {
				return err
			}
			defer p.Close()
			shown := a.progress()
			defer shown.end()
			return demo.Run(cmd.Context(), p, demo.Options{Out: a.stdout, Progress: shown.hook()})
		},
	}
	cmd.AddCommand(newDemoOllama(a))
	return cmd
}

func newDemoOllama(*app) *cobra.Command {
	return &cobra.Command{
		Use: "ollama", Short: "Let a local model drive the tools",
		Args: exactly(),
		RunE: func(*cobra.Command, []string) error { return errors.New("demo ollama is not there yet") },
	}
}
