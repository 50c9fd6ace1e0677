package pyro

import "time"

// LogsTaskRequest asks for a task's history.
type LogsTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Sequence asks for one command alone; 0 is all.
	Sequence int `json:"sequence,omitempty" jsonschema:"only this command, by its number; left out: all"`
	// OffsetBytes are passed over of each stream; with Sequence alone.
	OffsetBytes int `json:"offset_bytes,omitempty" jsonschema:"with sequence: how many bytes of each stream to pass over"`
	// MaxBytes bound what is given of each stream; 0 is all that was kept. With Sequence alone.
	MaxBytes int `json:"max_bytes,omitempty" jsonschema:"with sequence: how many bytes of each stream to give"`
	// Each, if set, is called with one entry after the other, and how many there are, in place of
	// Entries: no more than one is held at a time. An error ends it. Entries have all streams only so far
	// as 4 MiB hold; ask for one by Sequence.
	Each func(count int, e LogEntry) error `json:"-"`
	// Follow, if set, is called with what happens after the entries that are returned: output as
	// commands write it, and their ends. LogsTask then returns when the context ends (without an error) or
	// the task stops.
	Follow func(LogEvent) `json:"-"`
}

// LogsTaskResult is a task's history, oldest first.
type LogsTaskResult struct {
	TaskID  string     `json:"task_id"`
	Count   int        `json:"count"`
	Entries []LogEntry `json:"entries"`
}

// LogEntry is one command of a task's history. Interrupted says that the guest, or the caller, went before
// the command had ended; Cause says which.
type LogEntry struct {
	Sequence    int       `json:"sequence"`
	CWD         string    `json:"cwd"`
	Command     string    `json:"command"`
	StartedAt   time.Time `json:"started_at"`
	Running     bool      `json:"running,omitempty"`
	Interrupted bool      `json:"interrupted,omitempty"`
	Output
}

// LogEvent is what a follower of a task's history sees. Kind is start, stdout, stderr, end or lost
// (the follower was too slow, output is missing). Entry is the command as known at that moment:
// finished at its end.
type LogEvent struct {
	Kind  string
	Entry LogEntry
	Data  []byte
}
