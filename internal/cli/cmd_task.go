package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTask(a *app) *cobra.Command {
	return parent("task", "Keep a VM with a workspace, and run commands in it",
		"A task is a VM that keeps its workspace: /workspace and its other files outlive each command.",
		`  id=$(pyro task create debian:12 --source-path .)
  pyro task exec "$id" -- make test
  pyro task logs "$id"
  pyro task delete "$id"`,
		newTaskCreate(a), newTaskExec(a), newTaskList(a), newTaskStatus(a), newTaskLogs(a), newTaskNetwork(a),
		newTaskSnapshot(a), newTaskFork(a), newTaskRollback(a), newTaskPause(a), newTaskResume(a),
		newTaskDelete(a))
}

// taskCommand makes a command that does one thing to a task, and says so.
func (a *app) taskCommand(
	use, short, long, done string, do func(*pyro.Pyro, context.Context, pyro.TaskRequest) (pyro.Task, error),
) *cobra.Command {
	cmd := &cobra.Command{
		Use:               use,
		Short:             short,
		Long:              long,
		Example:           fmt.Sprintf("  pyro task %s \"$id\"", strings.Fields(use)[0]),
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			task, err := with(a, func(p *pyro.Pyro) (pyro.Task, error) {
				task, err := do(p, cmd.Context(), pyro.TaskRequest{TaskID: args[0]})
				return task, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			return a.print(task, func(w io.Writer) { fmt.Fprintln(w, done, args[0]) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
