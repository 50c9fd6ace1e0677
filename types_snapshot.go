package pyro

import "time"

// SnapshotTaskRequest asks for a snapshot of a task.
type SnapshotTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Name is another name for the snapshot beside its id: lower-case letters, digits, dots, dashes and
	// underscores.
	Name string `json:"name,omitempty" jsonschema:"a name for the snapshot, beside its id: lower-case letters, digits, dots, dashes, underscores"`
}

// SnapshotRequest names a snapshot.
type SnapshotRequest struct {
	Snapshot string `json:"snapshot" jsonschema:"the snapshot's id or name"`
}

// Snapshot is a task as it was at one moment.
type Snapshot struct {
	SnapshotID  string    `json:"snapshot_id"`
	Name        string    `json:"name,omitempty"`
	TaskID      string    `json:"task_id"` // that it is of, which may be gone
	Environment string    `json:"environment"`
	CreatedAt   time.Time `json:"created_at"`
	// Memory says that memory and processes were kept, and not the disk alone; if not, WithoutMemory says
	// why.
	Memory        bool   `json:"memory"`
	WithoutMemory string `json:"without_memory,omitempty"`
	MemMiB        int    `json:"mem_mib"`
	PauseMS       int64  `json:"pause_ms"` // for which the task stood still
	// MemoryBytes and DiskBytes are what memory and disk take on the host's disk; SharedBytes is the memory
	// of the template below, which others may hold, too. Bytes is what deleting the snapshot would free:
	// what nobody else holds.
	MemoryBytes int64 `json:"memory_bytes"`
	DiskBytes   int64 `json:"disk_bytes"`
	SharedBytes int64 `json:"shared_bytes"`
	Bytes       int64 `json:"bytes"`
	// Forks are the tasks there are that were made from it. They go on without it.
	Forks []string `json:"forks"`
	// Commands are the command lines that ran when it was taken.
	Commands []string `json:"commands"`
}

// ForkTaskRequest asks for tasks that go on from where another is. One of TaskID and Snapshot is set.
type ForkTaskRequest struct {
	TaskID   string `json:"task_id,omitempty" jsonschema:"the task to fork as it is now"`
	Snapshot string `json:"snapshot,omitempty" jsonschema:"the id or name of a snapshot to fork, in place of task_id"`
	// Count is how many forks there are to be; 0 is 1.
	Count int `json:"count,omitempty" jsonschema:"how many forks to make"`
	// TTLSeconds is each fork's time to live; nil is that of the task.
	TTLSeconds *int              `json:"ttl_seconds,omitempty" jsonschema:"seconds after which each fork is removed; 0 is no limit"`
	Metadata   map[string]string `json:"metadata,omitempty" jsonschema:"names and values to keep with each fork"`
}

// ForkTaskResult has the forks.
type ForkTaskResult struct {
	Tasks []Task `json:"tasks"`
}

// RollbackTaskRequest asks for a task to go on from a snapshot.
type RollbackTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Snapshot is the snapshot's id or name; empty is the newest one of the task.
	Snapshot string `json:"snapshot,omitempty" jsonschema:"the snapshot's id or name; the newest one of the task if left out"`
}

// RollbackTaskResult is the task after it was rolled back.
type RollbackTaskResult struct {
	Task
	SnapshotID string `json:"snapshot_id"`
	DurationMS int64  `json:"duration_ms"`
}

// ListSnapshotsResult has all snapshots, oldest first.
type ListSnapshotsResult struct {
	Snapshots  []Snapshot `json:"snapshots"`
	TotalBytes int64      `json:"total_bytes"`
	// LimitBytes is how much they may take together before no other is made; 0 is no limit.
	LimitBytes int64 `json:"limit_bytes"`
}

// DeleteSnapshotResult says what a deletion did.
type DeleteSnapshotResult struct {
	SnapshotID string `json:"snapshot_id"`
	Deleted    bool   `json:"deleted"`
	FreedBytes int64  `json:"freed_bytes"`
}
