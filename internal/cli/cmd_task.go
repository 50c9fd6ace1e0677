package cli

import "github.com/spf13/cobra"

func newTask(a *app) *cobra.Command {
	return parent("task", "Keep a VM with a workspace, and run commands in it",
		"A task is a VM that keeps its workspace: /workspace and its other files outlive each command.",
		`  id=$(pyro task create debian:12 --source-path .)
  pyro task exec "$id" -- make test
  pyro task logs "$id"
  pyro task delete "$id"`,
		newTaskCreate(a), newTaskExec(a), newTaskShell(a), newTaskAttach(a), newTaskCopy(a), newTaskExport(a),
		newTaskDiff(a), newTaskSync(a),
		newTaskCommand(a), newTaskService(a), newTaskForward(a), newTaskUnforward(a),
		newTaskList(a), newTaskStatus(a), newTaskLogs(a),
		newTaskNetwork(a), newTaskExtend(a), newTaskStop(a), newTaskStart(a), newTaskDelete(a),
		newTaskSnapshot(a), newTaskFork(a), newTaskRollback(a), newTaskPause(a), newTaskResume(a),
		newTaskCommit(a))
}
