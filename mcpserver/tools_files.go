package mcpserver

import (
	"strings"

	"github.com/pyro-mcp/pyro"
)

// fileTools are the tools for the files of tasks.
func fileTools() []tool {
	return []tool{
		{
			name:      "task_read_file",
			title:     "Read a file of a task",
			operation: "read_file",
			description: "Read a file of a task. Content is text, or Base64 in content_base64 if it is not " +
				"UTF-8. Up to 32 KiB unless max_bytes is given; truncated says that more follows, to be " +
				"read from offset_bytes on.",
			profiles: []Profile{ProfileTask},
			prepare: preparing(func(in *pyro.ReadFileRequest) {
				if in.MaxBytes == 0 {
					in.MaxBytes = streamLimit
				}
			}),
		},
		{
			name:      "task_write_file",
			title:     "Write a file of a task",
			operation: "write_file",
			description: "Make or replace a file of a task with the content given, whole or not at all. " +
				"Directories above it are made. To change a part of a file use task_patch.",
			profiles: []Profile{ProfileTask},
		},
		{
			name:      "task_list_files",
			title:     "List files of a task",
			operation: "list_files",
			description: "List what is in a directory of a task, /workspace if path is left out, " +
				"with type, " +
				"size, permissions and time of change.",
			profiles: []Profile{ProfileTask},
		},
		{
			name:      "task_patch",
			title:     "Patch files of a task",
			operation: "patch_task",
			description: "Apply a unified diff, as git diff writes it, to files of a task. It is " +
				"applied as a whole or not at all; the lines that it does not change must be those " +
				"of the file.",
			profiles: []Profile{ProfileTask},
		},
		{
			name:      "task_diff",
			title:     "Show what a task changed",
			operation: "diff_task",
			description: "Tell which files of /workspace a task added, modified or removed since it was " +
				"seeded. With patch the changes also come as a unified diff that git apply takes; if it " +
				"is larger than 64 KiB it is cut between two files, and truncated is set.",
			profiles: []Profile{ProfileTask},
			finish: finishing(func(_ call, _ pyro.DiffTaskRequest, out *pyro.DiffTaskResult) {
				shortenChanges(out)
			}),
		},
	}
}

// Bounds of what a model gets of the changes of a task.
const (
	maxChanges = 1000
	maxPatch   = 64 << 10
)

// shortenChanges cuts a task's changes to what a model can make use of.
func shortenChanges(out *pyro.DiffTaskResult) {
	if len(out.Changes) > maxChanges {
		out.Changes, out.Truncated = out.Changes[:maxChanges], true
	}
	if len(out.Patch) > maxPatch {
		whole := strings.LastIndex(out.Patch[:maxPatch], "\ndiff --git ") + 1
		out.Patch, out.Truncated = out.Patch[:whole], true
	}
}
