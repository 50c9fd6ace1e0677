package mcpserver

// snapshotTools are the tools for trying things from a prepared state.
func snapshotTools() []tool {
	return []tool{
		{
			name:      "task_snapshot",
			title:     "Keep a task as it is",
			operation: "snapshot_task",
			description: "Keep a task as it is at this moment, with its running processes, memory and " +
				"files, and let it go on. Take one before a step that may go wrong: task_rollback " +
				"goes back to it, task_fork tries several ways from it at once.",
			profiles: []Profile{ProfileTask},
			doing:    "taking the snapshot",
		},
		{
			name:      "task_fork",
			title:     "Fork a task",
			operation: "fork_task",
			description: "Make tasks that go on from where a task is (task_id) or was (snapshot), " +
				"processes included; each has its own task_id for task_exec and changes nothing " +
				"in the others. Delete each with task_delete when it is of no more use.",
			profiles: []Profile{ProfileTask},
			doing:    "forking the task",
		},
		{
			name:      "task_rollback",
			title:     "Roll a task back",
			operation: "rollback_task",
			description: "Have a task go on from a snapshot, the newest one of the task if none is named. " +
				"What it did since then is lost.",
			profiles: []Profile{ProfileTask},
			doing:    "rolling the task back",
		},
	}
}
