package cli

import (
	"bufio"
	"context"
	"fmt"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskLogs(a *app) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs ID",
		Short: "Show a task's command history, oldest first",
		Example: "  pyro task logs \"$id\"\n  pyro task logs \"$id\" --follow\n" +
			"  pyro task logs \"$id\" --json | jq '.entries[-1].stdout'",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		PreRunE: func(*cobra.Command, []string) error {
			if follow && a.json {
				return usagef("--follow and --json exclude each other: --json is exactly one document")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			request := pyro.LogsTaskRequest{TaskID: args[0]}
			history := &historyPrinter{out: bufio.NewWriter(a.stdout), json: a.json, skipRunning: follow}
			request.Each = history.entry
			result, err := with(a, func(p *pyro.Pyro) (pyro.LogsTaskResult, error) {
				result, err := p.LogsTask(cmd.Context(), request)
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err == nil {
				err = history.end(result)
			}
			request.Each = func(int, pyro.LogEntry) error { return nil }
			if err != nil || !follow {
				return err
			}
			return a.follow(cmd.Context(), request)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false,
		"go on with each command that ends, until the task does")
	a.jsonFlag(cmd)
	return cmd
}

// follow shows what happens in a task from now on: a command's output as it comes, then how the command
// ended.
func (a *app) follow(ctx context.Context, request pyro.LogsTaskRequest) error {
	request.Follow = func(e pyro.LogEvent) {
		switch e.Kind {
		case "start":
			fmt.Fprintf(a.stdout, "# %d  %s  %s\n", e.Entry.Sequence,
				e.Entry.StartedAt.Local().Format(time.DateTime), oneLine(e.Entry.Command))
		case "stdout", "stderr":
			_, _ = a.stdout.Write(e.Data)
		case "end":
			fmt.Fprintf(a.stdout, "# %d  %s\n", e.Entry.Sequence, ending(e.Entry))
		case "lost":
			fmt.Fprintln(a.stdout, "# some output was lost: it came too fast to follow")
		}
	}
	_, err := with(a, func(p *pyro.Pyro) (pyro.LogsTaskResult, error) { return p.LogsTask(ctx, request) })
	return err
}

// ending words how a command of the history ended.
func ending(e pyro.LogEntry) string {
	switch {
	case e.Running:
		return "running"
	case e.Interrupted && e.Notice != "":
		return "interrupted: " + oneLine(e.Notice)
	case e.Interrupted:
		return "interrupted: the guest ended first"
	case e.TimedOut:
		return fmt.Sprintf("timed out after %s", took(e.DurationMS))
	}
	return fmt.Sprintf("exit status %d, %s", e.ExitCode, took(e.DurationMS))
}
