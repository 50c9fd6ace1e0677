package mcpserver

import (
	"github.com/pyro-mcp/pyro"
)

// How long a model waits for a shell to come to rest, unless it says otherwise, in milliseconds.
const (
	shellWait = 5000
	shellIdle = 300
)

// shellWriteSeconds is how long what a model types may wait for a program that does not read.
const shellWriteSeconds = 10

// shellTools are the tools for shells, which stay open between calls.
func shellTools() []tool {
	return []tool{
		{
			name:      "shell_open",
			title:     "Open a shell",
			operation: "open_shell",
			description: "Open a shell, or an interactive program such as a REPL or a debugger " +
				"given as command, on a terminal in a task. It stays open between calls. " +
				"Returns its command_id for shell_write and shell_read.",
			profiles: []Profile{ProfileTask},
		},
		{
			name:      "shell_write",
			title:     "Type into a shell",
			operation: "write_command",
			description: "Type into a shell or interactive program: end a line with \\r; \\u0003 " +
				"is Ctrl-C, \\u0004 is Ctrl-D. Then call shell_read for what it answers.",
			profiles: []Profile{ProfileTask},
			prepare: preparing(func(in *pyro.WriteCommandRequest) {
				if in.LimitSeconds == 0 {
					in.LimitSeconds = shellWriteSeconds
				}
			}),
		},
		{
			name:      "shell_read",
			title:     "Read what a shell shows",
			operation: "read_command",
			description: "Read what a shell, background command or service has written since " +
				"cursor, as plain text. Waits until nothing more comes for idle_ms (300 " +
				"if left out), for wait_ms at most (5000). Pass the cursor of the answer " +
				"to the next shell_read.",
			profiles: []Profile{ProfileTask},
			prepare: preparing(func(in *pyro.ReadCommandRequest) {
				in.Plain = true
				if in.WaitMS == 0 {
					in.WaitMS = shellWait
				}
				if in.IdleMS == 0 {
					in.IdleMS = shellIdle
				}
			}),
		},
		{
			name:      "shell_signal",
			title:     "Signal a shell's program",
			operation: "signal_command",
			description: "Send a signal such as INT, TERM or KILL to the program in front of a " +
				"shell, or to a background command.",
			profiles: []Profile{ProfileTask},
		},
		{
			name:      "shell_close",
			title:     "Close a shell",
			operation: "stop_command",
			description: "Close a shell, or end a background command or service, with all that it " +
				"started.",
			profiles: []Profile{ProfileTask},
		},
	}
}

// backgroundTools are those for what runs on by itself.
func backgroundTools() []tool {
	return []tool{
		{
			name:      "task_start_command",
			title:     "Start a command in the background",
			operation: "start_command",
			description: "Start a long command in a task and return at once with its command_id. " +
				"Read its output with shell_read, wait for it with command_wait, end it " +
				"with shell_close.",
			profiles: []Profile{ProfileTask},
			required: []string{"command"},
		},
		{
			name:      "command_wait",
			title:     "Wait for a background command",
			operation: "wait_command",
			description: "Wait until a background command has ended, for limit_seconds at most (30 " +
				"if left out), and return its state and exit code.",
			profiles: []Profile{ProfileTask},
			prepare: preparing(func(in *pyro.WaitCommandRequest) {
				if in.LimitSeconds == 0 {
					in.LimitSeconds = pyro.DefaultTimeoutSeconds
				}
			}),
		},
		{
			name:      "command_list",
			title:     "List background commands",
			operation: "list_commands",
			description: "List a task's shells, background commands and services, with what each " +
				"is doing.",
			profiles: []Profile{ProfileTask},
		},
		{
			name:      "service_start",
			title:     "Start a service",
			operation: "start_service",
			description: "Start a server in a task and wait until it is ready: when ready_http " +
				"answers, somebody listens on ready_tcp, ready_file is there, ready_log " +
				"matches a line of its output, or ready_command ends with 0.",
			profiles: []Profile{ProfileTask},
			required: []string{"command"},
			doing:    "waiting for the service",
		},
	}
}
