package mcpserver

import (
	"context"
	"fmt"

	"github.com/pyro-mcp/pyro"
)

// logsInput asks for a history as a model can take it: a part at a time.
type logsInput struct {
	TaskID   string `json:"task_id" jsonschema:"the task's id"`
	Sequence int    `json:"sequence,omitempty" jsonschema:"show only this command, in full; its number is in the result of task_exec. Left out: all commands, each cut to 4 KiB a stream"`
	Offset   int    `json:"offset_bytes,omitempty" jsonschema:"with sequence: how many bytes of each stream to pass over"`
	MaxBytes int    `json:"max_bytes,omitempty" jsonschema:"with sequence: how many bytes of each stream to return"`
}

// historyLimit is how many entries one answer of task_logs holds: the newest.
const historyLimit = 100

func (b *toolbox) addTaskTools() {
	p := b.engine
	add(b, tool[pyro.CreateTaskRequest, pyro.Task]{
		name: "task_create", title: "Create a task", effect: makes,
		description: "Create and start a task: a Linux VM whose /workspace and other files persist between commands. Returns its task_id for task_exec. " +
			"source_path seeds /workspace with a copy of a directory or tar archive of the user's machine; changes in the VM never reach the original. " +
			"It outlives this session until ttl_seconds: call task_delete when the work is done.",
		do: func(ctx context.Context, c call, in pyro.CreateTaskRequest) (pyro.Task, error) {
			c.progress.say("creating the task")
			in.Progress = c.pulling()
			return p.CreateTask(ctx, in)
		},
	})
	add(b, tool[pyro.ExecTaskRequest, pyro.ExecTaskResult]{
		name: "task_exec", title: "Run a command in a task", effect: changes, required: []string{"command"},
		description: "Run one shell command in a task, in /workspace, and return its exit code, stdout and stderr. Files persist for the next command; " +
			"environment variables and the current directory do not. A non-zero exit_code is a result, not a failure of the tool. " + outputNote +
			"To read the rest call task_logs with the sequence of this result and offset_bytes.",
		do: func(ctx context.Context, c call, in pyro.ExecTaskRequest) (pyro.ExecTaskResult, error) {
			c.progress.say("running the command")
			out, err := p.ExecTask(ctx, in)
			cutOutput(&out.Output, streamLimit, fmt.Sprintf("to read them call task_logs with sequence %d and offset_bytes %d", out.Sequence, streamLimit/2))
			return out, err
		},
		text: func(r pyro.ExecTaskResult) string { return commandText(r.Output) },
	})
	add(b, tool[pyro.TaskRequest, pyro.Task]{
		name: "task_status", title: "Show a task", effect: reads,
		description: "Show a task's record: state, when it expires, number of commands, the last command, how its workspace was seeded.",
		do: func(ctx context.Context, _ call, in pyro.TaskRequest) (pyro.Task, error) {
			return p.StatusTask(ctx, in)
		},
	})
	add(b, tool[logsInput, pyro.LogsTaskResult]{
		name: "task_logs", title: "Read a task's history", effect: reads,
		description: "Read the commands that ran in a task, oldest first, with exit codes and output. Without sequence: the newest 100 commands, " +
			"each stream cut to 4 KiB. With sequence: one command, each stream from offset_bytes on, up to max_bytes; " +
			"stdout_truncated or stderr_truncated says that more follows.",
		do: func(ctx context.Context, _ call, in logsInput) (pyro.LogsTaskResult, error) {
			out, err := p.LogsTask(ctx, pyro.LogsTaskRequest{TaskID: in.TaskID})
			if err != nil {
				return out, err
			}
			return selectLogs(out, in)
		},
	})
	add(b, tool[pyro.TaskRequest, pyro.DeleteResult]{
		name: "task_delete", title: "Delete a task", effect: destroys,
		description: "End a task and delete its files and history.",
		do: func(ctx context.Context, _ call, in pyro.TaskRequest) (pyro.DeleteResult, error) {
			return p.DeleteTask(ctx, in)
		},
	})
}

// selectLogs narrows a history to what was asked for. Count stays that of the whole history.
func selectLogs(all pyro.LogsTaskResult, in logsInput) (pyro.LogsTaskResult, error) {
	out := all
	if in.Sequence == 0 {
		out.Entries = append([]pyro.LogEntry{}, all.Entries[max(0, len(all.Entries)-historyLimit):]...)
		for i := range out.Entries {
			e := &out.Entries[i]
			cutOutput(&e.Output, listLimit, fmt.Sprintf("to read them call task_logs with sequence %d", e.Sequence))
		}
		return out, nil
	}
	for _, e := range all.Entries {
		if e.Sequence != in.Sequence {
			continue
		}
		limit := in.MaxBytes
		if limit <= 0 {
			limit = streamLimit
		}
		var more bool
		if e.Stdout, more = window(e.Stdout, in.Offset, limit); more {
			e.StdoutTruncated = true
		}
		if e.Stderr, more = window(e.Stderr, in.Offset, limit); more {
			e.StderrTruncated = true
		}
		out.Entries = []pyro.LogEntry{e}
		return out, nil
	}
	return pyro.LogsTaskResult{}, &pyro.Error{Kind: pyro.ErrNotFound,
		Message: fmt.Sprintf("task %q has no command with sequence %d; it has run %d", in.TaskID, in.Sequence, all.Count)}
}
