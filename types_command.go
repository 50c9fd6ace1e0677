package pyro

import "time"

// StartCommandRequest asks for a command that runs in the background of a task: it goes on when the caller
// goes, and what it writes is kept on disk, the last 2 MiB at least.
type StartCommandRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Command is a shell command line, run by /bin/sh -lc in the guest.
	Command string `json:"command,omitempty" jsonschema:"a shell command line, run by /bin/sh -lc in the guest"`
	// Argv is an argument vector, run as it is, in place of Command.
	Argv []string `json:"argv,omitempty" jsonschema:"an argument vector, run as it is, in place of command"`
	CommandSettings
	// Secrets are variables whose values are never written down, and are masked in what is kept of the output
	// if they have 4 bytes or more.
	Secrets map[string]string `json:"secrets,omitempty" jsonschema:"environment variables whose values are never written down, and masked in the output"`
	// Name is what the command is to be called; empty is an id that pyro makes up.
	Name string `json:"name,omitempty" jsonschema:"what the command is to be called, in place of an id that is made up"`
	// LimitSeconds bounds the command; 0 is no limit.
	LimitSeconds int `json:"limit_seconds,omitempty" jsonschema:"seconds after which the command is ended; 0 is no limit"`
	// Input says that the command takes input, which WriteCommand sends; it reads nothing otherwise.
	Input bool `json:"input,omitempty" jsonschema:"the command takes input, which write_command sends"`
}

// OpenShellRequest asks for a program on a terminal that goes on when the caller goes.
type OpenShellRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Command is a shell command line; empty is the user's own shell.
	Command string `json:"command,omitempty" jsonschema:"a command line to run on the terminal; the user's shell if left out"`
	// Name is what it is to be called; empty is an id that pyro makes up.
	Name string `json:"name,omitempty" jsonschema:"what it is to be called, in place of an id that is made up"`
	TerminalSize
	// Type is the TERM variable; empty is xterm-256color.
	Type string `json:"type,omitempty" jsonschema:"the TERM variable; xterm-256color if left out"`
}

// CommandRequest names a background command of a task.
type CommandRequest struct {
	TaskID    string `json:"task_id" jsonschema:"the task's id or name"`
	CommandID string `json:"command_id" jsonschema:"the command's id or name"`
}

// Command is the record of a background command. Kind is command, shell or service. State is running, exited,
// stopped (it was asked to end) or interrupted (its guest ended), and of a service also starting, ready,
// backoff (it is about to be started again) and failed.
type Command struct {
	TaskID    string     `json:"task_id"`
	CommandID string     `json:"command_id"`
	Kind      string     `json:"kind"`
	State     string     `json:"state"`
	Sequence  int        `json:"sequence"`
	Command   string     `json:"command"`
	Terminal  bool       `json:"terminal"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	ExitCode  *int       `json:"exit_code"`
	TimedOut  bool       `json:"timed_out,omitempty"`
	Restarts  int        `json:"restarts,omitempty"`
	// Notice is pyro's own word on how the command ended, or "".
	Notice string `json:"notice,omitempty"`
	// Cause is what Notice is about, as [Output].Cause.
	Cause string `json:"cause,omitempty"`
}

// Ended tells whether the command has ended for good.
func (c Command) Ended() bool { return c.EndedAt != nil }

// ListCommandsResult is a task's background commands, oldest first.
type ListCommandsResult struct {
	TaskID   string    `json:"task_id"`
	Commands []Command `json:"commands"`
}

// ReadCommandRequest asks for a background command's output from a cursor on.
type ReadCommandRequest struct {
	CommandRequest
	// Cursor is where to begin: 0, or what a read before this one has given. One below 0 counts from the end.
	Cursor int64 `json:"cursor,omitempty" jsonschema:"where to begin: 0, or the cursor that the read before gave; -N is N bytes before the end"`
	// MaxBytes bounds what is read; 0 is 65536.
	MaxBytes int `json:"max_bytes,omitempty" jsonschema:"how many bytes at most; 65536 if left out"`
	// WaitMS is how long to wait for output, in milliseconds, if there is none yet.
	WaitMS int `json:"wait_ms,omitempty" jsonschema:"milliseconds to wait for output if there is none yet"`
	// IdleMS is how long nothing must come, within WaitMS, for what has come to be given: so a prompt is read
	// with all that stands before it.
	IdleMS int `json:"idle_ms,omitempty" jsonschema:"milliseconds in which nothing must come, within wait_ms, before the output is given"`
	// Plain renders the output of a terminal as text: without escape sequences, lines as they look in the
	// end.
	Plain bool `json:"plain,omitempty" jsonschema:"give the output of a terminal as plain text, without escape sequences"`
}

// ReadCommandResult is a piece of a background command's output: stdout and stderr in the order in which they
// came. A character is never cut in two.
type ReadCommandResult struct {
	Command
	Output string `json:"output"`
	// Cursor is where to read on.
	Cursor int64 `json:"cursor"`
	// LostBytes is how many bytes before the output were dropped.
	LostBytes int64 `json:"lost_bytes,omitempty"`
}

// AttachCommandRequest asks for a background command's output as it comes, and passes input on to it. The end
// of the context, or of Stdin, detaches; the command goes on.
type AttachCommandRequest struct {
	CommandRequest
	// Cursor is where the output begins, as in ReadCommandRequest; -1 is what comes from now on.
	Cursor int64 `json:"cursor,omitempty" jsonschema:"where the output begins; 0 is all that is kept, -1 what comes from now on"`
	// Streams are where the output goes and the input comes from.
	Streams Streams `json:"-"`
	// Lost is told how many bytes of the output are missing at that place.
	Lost func(int64) `json:"-"`
}

// WriteCommandRequest is input for a background command.
type WriteCommandRequest struct {
	CommandRequest
	// Input is what is typed, or written to the command's standard input.
	Input string `json:"input" jsonschema:"what is typed; \r is the Enter key, \u0003 is Ctrl-C"`
	// End ends the input after that.
	End bool `json:"end,omitempty" jsonschema:"end the input after that"`
	// LimitSeconds bounds the wait for a command that does not read; 0 is no limit. What it has not taken by
	// then it does not get.
	LimitSeconds int `json:"limit_seconds,omitempty" jsonschema:"seconds to wait at most for a command that does not read; 0 is no limit"`
}

// SignalCommandRequest sends a signal to a background command: to the foreground job of its terminal if it
// has one.
type SignalCommandRequest struct {
	CommandRequest
	// Signal is a name such as INT, TERM, KILL, HUP.
	Signal string `json:"signal" jsonschema:"the signal's name, for example INT, TERM, KILL or HUP"`
}

// ResizeCommandRequest tells a background command's terminal its size.
type ResizeCommandRequest struct {
	CommandRequest
	TerminalSize
}

// WaitCommandRequest waits for a background command's end.
type WaitCommandRequest struct {
	CommandRequest
	// LimitSeconds bounds the wait; 0 is no limit. The command goes on in any case.
	LimitSeconds int `json:"limit_seconds,omitempty" jsonschema:"seconds to wait at most; 0 is no limit"`
}

// StopCommandRequest asks a background command to end: by SIGTERM, a shell by SIGHUP.
type StopCommandRequest struct {
	CommandRequest
	// GraceSeconds is how long it has before it is killed with all that it started; nil is 10.
	GraceSeconds *int `json:"grace_seconds,omitempty" jsonschema:"seconds before it is killed; 10 if left out"`
}

// StartServiceRequest asks for a service: a background command that is to run on. At most one of the Ready
// fields says when it is ready, which the call waits for; without one it is ready once it runs.
type StartServiceRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Name is the service's.
	Name string `json:"name" jsonschema:"the service's name"`
	// Command is a shell command line, run by /bin/sh -lc in the guest.
	Command string `json:"command,omitempty" jsonschema:"a shell command line, run by /bin/sh -lc in the guest"`
	// Argv is an argument vector, run as it is, in place of Command.
	Argv []string `json:"argv,omitempty" jsonschema:"an argument vector, run as it is, in place of command"`
	// Secrets are variables whose values are never written down, and are masked in what is kept of the output
	// if they have 4 bytes or more. So a service that has some cannot be started again with its task.
	Secrets map[string]string `json:"secrets,omitempty" jsonschema:"environment variables whose values are never written down, and masked in the output"`
	// ReadyHTTP is PORT or PORT/PATH on the guest's loopback that answers with a status below 400.
	ReadyHTTP string `json:"ready_http,omitempty" jsonschema:"PORT or PORT/PATH that answers with a status below 400"`
	// ReadyTCP is a port on the guest's loopback that somebody listens on.
	ReadyTCP int `json:"ready_tcp,omitempty" jsonschema:"a port that somebody listens on"`
	// ReadyFile is a file that is there.
	ReadyFile string `json:"ready_file,omitempty" jsonschema:"a file that is there"`
	// ReadyLog is a regular expression that a line of the service's output matches.
	ReadyLog string `json:"ready_log,omitempty" jsonschema:"a regular expression that a line of the output matches"`
	// ReadyCommand is a command line that ends with 0.
	ReadyCommand string `json:"ready_command,omitempty" jsonschema:"a command line that ends with 0"`
	// ReadySeconds is how long it may take; 0 is 60. A service that is not ready by then has failed.
	ReadySeconds int `json:"ready_seconds,omitempty" jsonschema:"seconds that it may take to be ready; 60 if left out"`
	// Restart says that the service is started again if it fails, each time a little later.
	Restart bool `json:"restart,omitempty" jsonschema:"start it again if it fails, each time a little later"`
	// MaxRestarts bounds that, in a row; 0 is no bound.
	MaxRestarts int `json:"max_restarts,omitempty" jsonschema:"how often in a row at most; 0 is no bound"`
	// Resume says that the service is started again when the task is.
	Resume bool `json:"resume,omitempty" jsonschema:"start it again when the task is started again"`
}
