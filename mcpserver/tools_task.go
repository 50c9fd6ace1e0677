package mcpserver

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// historyLimit is how many entries one answer of task_logs holds: the newest.
const historyLimit = 50

// taskTools are the tools for tasks.
func taskTools() []tool {
	return []tool{
		{
			name:      "task_create",
			title:     "Create a task",
			operation: "create_task",
			description: "Create and start a task: a Linux VM whose files persist between commands. " +
				"Returns its task_id. " +
				"It outlives this session, until ttl_seconds without a command: call task_delete when the " +
				"work is done.",
			notes: []note{
				{"source_path", "source_path seeds /workspace with a copy of a directory or tar archive of " +
					"the user's; changes never reach the original."},
			},
			profiles: []Profile{ProfileCore, ProfileTask},
			doing:    "creating the task",
		},
		{
			name:      "task_exec",
			title:     "Run a command in a task",
			operation: "exec_task",
			description: "Run one shell command in a task, in /workspace. Files persist; variables and " +
				"the current directory " +
				"do not. " + outputNote + "task_logs has the rest.",
			profiles: []Profile{ProfileCore, ProfileTask},
			required: []string{"command"},
			doing:    "running the command",
			finish: finishing(func(_ call, _ pyro.ExecTaskRequest, r *pyro.ExecTaskResult) {
				cutOutput(&r.Output, streamLimit, fmt.Sprintf(
					"to read them call task_logs with sequence %d and offset_bytes", r.Sequence))
			}),
			text: wording(func(r pyro.ExecTaskResult) string { return commandText(r.Output) }),
		},
		{
			name:        "task_status",
			title:       "Show a task",
			operation:   "status_task",
			description: "Show a task: state, when it expires, last command.",
			profiles:    []Profile{ProfileTask},
		},
		{
			name:      "task_logs",
			title:     "Read a task's history",
			operation: "logs_task",
			description: "Read a task's commands, oldest first, each output shortened. With sequence: one " +
				"command's output " +
				"from offset_bytes on; the answer says where to go on.",
			profiles: []Profile{ProfileCore, ProfileTask},
			prepare: preparing(func(in *pyro.LogsTaskRequest) {
				if in.Sequence != 0 {
					in.MaxBytes = min(cmp.Or(in.MaxBytes, streamLimit), streamLimit)
				}
			}),
			finish: finishing(func(_ call, in pyro.LogsTaskRequest, out *pyro.LogsTaskResult) {
				if in.Sequence == 0 {
					shorten(out)
					return
				}
				for i := range out.Entries {
					page(&out.Entries[i].Output, in.OffsetBytes)
				}
			}),
			text: wording(logsText),
		},
		{
			name:        "task_delete",
			title:       "Delete a task",
			operation:   "delete_task",
			description: "End a task and delete its files and history.",
			profiles:    []Profile{ProfileCore, ProfileTask},
		},
	}
}

// shorten keeps of a history the newest entries, each cut, and as many as one answer can hold. Count stays
// that of the whole history.
func shorten(history *pyro.LogsTaskResult) {
	entries := append([]pyro.LogEntry{}, history.Entries[max(0, len(history.Entries)-historyLimit):]...)
	room, first := historyText, len(entries)
	for first > 0 {
		e := &entries[first-1]
		cutOutput(
			&e.Output,
			listLimit,
			fmt.Sprintf("to read them call task_logs with sequence %d", e.Sequence),
		)
		e.Command, _ = cutMiddle(e.Command, listLimit, "of the command")
		if room -= encodedSize(e.Stdout) + encodedSize(e.Stderr) + encodedSize(e.Command); room < 0 {
			break
		}
		first--
	}
	history.Entries = entries[first:]
}

// page cuts both streams of a command at the same place, so that each is within its limit, and says where to
// go on.
func page(o *pyro.Output, offset int) {
	longest := max(len(o.Stdout), len(o.Stderr))
	size := longest
	for _, s := range []string{o.Stdout, o.Stderr} {
		if fits := encodedPrefix(s, streamLimit); fits < len(s) {
			size = min(size, fits)
		}
	}
	if len(o.Stdout) > size {
		o.Stdout, o.StdoutTruncated = o.Stdout[:size], true
	}
	if len(o.Stderr) > size {
		o.Stderr, o.StderrTruncated = o.Stderr[:size], true
	}
	if o.StdoutTruncated || o.StderrTruncated {
		o.Notice = strings.TrimPrefix(
			fmt.Sprintf("%s; more follows from offset_bytes %d on", o.Notice, offset+size),
			"; ",
		)
	}
}

// logsText words a history.
func logsText(history pyro.LogsTaskResult) string {
	var b strings.Builder
	if hidden := history.Count - len(history.Entries); hidden > 0 {
		fmt.Fprintf(&b, "%d of %d commands\n", len(history.Entries), history.Count)
	}
	for _, e := range history.Entries {
		fmt.Fprintf(&b, "%d: %s\n%s\n", e.Sequence, e.Command, commandText(e.Output))
	}
	return b.String()
}
