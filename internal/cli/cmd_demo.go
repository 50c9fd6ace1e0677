package cli

import (
	"fmt"
	"net/url"

	"github.com/pyro-mcp/pyro/internal/demo"
	"github.com/spf13/cobra"
)

func newDemo(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Show a whole life cycle: a VM, then a task",
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

// exitModelFailed says that all worked but the model.
const exitModelFailed = 3

func newDemoOllama(a *app) *cobra.Command {
	o := demo.OllamaOptions{Out: a.stdout}
	rounds := number{demo.DefaultMaxRounds, 1}
	cmd := &cobra.Command{
		Use:   "ollama",
		Short: "Let a local model drive the tools",
		Long: `Gives a model behind an OpenAI-compatible endpoint the tool vm_run and the task tools, and asks it
to find out which version of git is in debian:12. Each step is a line; the last line is the
summary. The model may not reach beyond its VMs: host directories, host_compat and the network are
not offered. The tasks that it made are deleted.

Exit status:
  0    the model did the job
  1    the endpoint or pyro failed
  2    pyro was called in a wrong way
  3    the model did not do the job`,
		Example: `  pyro demo ollama
  pyro demo ollama --model qwen3:4b --verbose
  pyro demo ollama --base-url http://127.0.0.1:8080/v1 --max-rounds 4`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if at, err := url.Parse(o.BaseURL); err != nil || at.Host == "" ||
				(at.Scheme != "http" && at.Scheme != "https") {
				return &usageError{message: fmt.Sprintf("--base-url %q is no HTTP address", o.BaseURL),
					hint: "write http://HOST:PORT/v1"}
			}
			p, err := a.engine()
			if err != nil {
				return err
			}
			defer p.Close()
			shown := a.progress()
			defer shown.end()
			o.Progress, o.MaxRounds = shown.hook(), rounds.value
			result, err := demo.Ollama(cmd.Context(), p, o)
			switch {
			case err != nil:
				return err
			case result.ModelFailed():
				return exitStatus(exitModelFailed)
			case result.Outcome != demo.Done:
				return exitStatus(exitFailure)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Model, "model", demo.DefaultModel, "the model's `NAME` at the endpoint")
	flags.StringVar(&o.BaseURL, "base-url", demo.DefaultBaseURL,
		"the endpoint's `URL`, up to and including /v1")
	flags.Var(&rounds, "max-rounds", "questions put to the model before it is given up")
	flags.BoolVarP(&o.Verbose, "verbose", "v", false, "show what the model and the tools say in full")
	return cmd
}
