package mcpserver

import (
	"fmt"

	"github.com/pyro-mcp/pyro"
)

// historyLimit is how many entries one answer of task_logs holds: the newest.
const historyLimit = 100

// taskTools are the tools for tasks.
func taskTools() []tool {
	return []tool{
		{
			name:      "task_create",
			title:     "Create a task",
			operation: "create_task",
			description: "Create and start a task: a Linux VM whose /workspace and other files persist " +
				"between commands. Returns its task_id for task_exec. " +
				"source_path seeds /workspace with a copy of a directory or tar archive of the user's " +
				"machine; changes in the VM never reach the original. " +
				"It outlives this session until ttl_seconds: call task_delete when the work is done.",
			profiles: []Profile{ProfileTask},
			doing:    "creating the task",
		},
		{
			name:      "task_exec",
			title:     "Run a command in a task",
			operation: "exec_task",
			description: "Run one shell command in a task, in /workspace, and return its exit code, " +
				"stdout and stderr. Files persist for the next command; " +
				"environment variables and the current directory do not. A non-zero exit_code is a " +
				"result, not a failure of the tool. " + outputNote +
				"To read the rest call task_logs with the sequence of this result and offset_bytes.",
			profiles: []Profile{ProfileTask},
			required: []string{"command"},
			doing:    "running the command",
			finish: finishing(func(_ call, _ pyro.ExecTaskRequest, r *pyro.ExecTaskResult) {
				cutOutput(&r.Output, streamLimit,
					fmt.Sprintf("to read them call task_logs with sequence %d and offset_bytes %d",
						r.Sequence, streamLimit/2))
			}),
			text: wording(func(r pyro.ExecTaskResult) string { return commandText(r.Output) }),
		},
		{
			name:      "task_status",
			title:     "Show a task",
			operation: "status_task",
			description: "Show a task's record: state, when it expires, number of commands, the last " +
				"command, how its workspace was seeded.",
			profiles: []Profile{ProfileTask},
		},
		{
			name:      "task_logs",
			title:     "Read a task's history",
			operation: "logs_task",
			description: "Read the commands that ran in a task, oldest first, with exit codes and output. " +
				"Without sequence: the newest 100 commands, " +
				"each stream cut to 4 KiB. With sequence: one command, each stream from offset_bytes on, " +
				"up to max_bytes (64 KiB if left out); " +
				"stdout_truncated or stderr_truncated says that more follows.",
			profiles: []Profile{ProfileTask},
			prepare: preparing(func(in *pyro.LogsTaskRequest) {
				if in.Sequence != 0 && in.MaxBytes == 0 {
					in.MaxBytes = streamLimit
				}
			}),
			finish: finishing(func(_ call, in pyro.LogsTaskRequest, out *pyro.LogsTaskResult) {
				if in.Sequence == 0 {
					shorten(out)
				}
			}),
		},
		{
			name:        "task_delete",
			title:       "Delete a task",
			operation:   "delete_task",
			description: "End a task and delete its files and history.",
			profiles:    []Profile{ProfileTask},
		},
	}
}

// shorten keeps of a history the newest entries, each cut. Count stays that of the whole history.
func shorten(history *pyro.LogsTaskResult) {
	history.Entries = append([]pyro.LogEntry{},
		history.Entries[max(0, len(history.Entries)-historyLimit):]...)
	for i := range history.Entries {
		e := &history.Entries[i]
		cutOutput(&e.Output, listLimit, fmt.Sprintf("to read them call task_logs with sequence %d",
			e.Sequence))
	}
}
