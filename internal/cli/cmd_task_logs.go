package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskLogs(a *app) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Show a task's command history, oldest first",
		Example: "  pyro task logs \"$id\"\n  pyro task logs \"$id\" --follow\n  pyro task logs \"$id\" --json | jq '.entries[-1].stdout'",
		Args:    exactly("ID"), ValidArgsFunction: a.completeTask(false),
		PreRunE: func(*cobra.Command, []string) error {
			if follow && a.json {
				return usagef("--follow and --json exclude each other: --json is exactly one document")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			request := pyro.LogsTaskRequest{TaskID: args[0]}
			if follow {
				request.Follow = func(e pyro.LogEntry) { writeEntry(a.stdout, e) }
			}
			result, err := with(a, func(p *pyro.Pyro) (pyro.LogsTaskResult, error) {
				result, err := p.LogsTask(cmd.Context(), request)
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil || follow {
				return err
			}
			return a.print(result, func(w io.Writer) {
				for _, e := range result.Entries {
					writeEntry(w, e)
				}
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with each command that ends, until the task does")
	a.jsonFlag(cmd)
	return cmd
}

func writeEntry(w io.Writer, e pyro.LogEntry) {
	end := fmt.Sprintf("exit status %d, %s", e.ExitCode, took(e.DurationMS))
	switch {
	case e.Running:
		end = "running"
	case e.Interrupted:
		end = "interrupted: the guest ended first"
	case e.TimedOut:
		end = fmt.Sprintf("timed out after %s", took(e.DurationMS))
	}
	fmt.Fprintf(w, "# %d  %s  %s  [%s, %s]\n", e.Sequence, e.StartedAt.Local().Format("2006-01-02 15:04:05"), oneLine(e.Command), end, e.ExecutionMode)
	for _, stream := range []string{e.Stdout, e.Stderr} {
		if stream == "" {
			continue
		}
		io.WriteString(w, stream)
		if !strings.HasSuffix(stream, "\n") {
			io.WriteString(w, "\n")
		}
	}
}
