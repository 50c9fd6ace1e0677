package pyro

// DiffTaskRequest asks what a task changed in its workspace since it was seeded. What is in .git directories
// is never told of.
type DiffTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Patch asks for a patch as well, which git apply takes in the directory that was the seed.
	Patch bool `json:"patch,omitempty" jsonschema:"give the changes as a patch, too"`
	// Exclude are patterns of what is not told of, as in .gitignore.
	Exclude []string `json:"exclude,omitempty" jsonschema:"patterns of what is not told of, as in .gitignore"`
	// IncludeIgnored tells of new files that a .gitignore of the workspace's ignores, too.
	IncludeIgnored bool `json:"include_ignored,omitempty" jsonschema:"tell of new files that a .gitignore ignores, too"`
}

// DiffTaskResult is what a task changed, in the order of paths.
type DiffTaskResult struct {
	TaskID  string       `json:"task_id"`
	Changes []FileChange `json:"changes"`
	// Patch is the changes as git diff --binary writes them, if it was asked for.
	Patch string `json:"patch,omitempty"`
	// LeftOut names what is too large to stand in the patch.
	LeftOut []string `json:"left_out,omitempty"`
	// Truncated says that there is more than is given. Only a face that is short of room sets it.
	Truncated bool `json:"truncated,omitempty"`
}

// FileChange is a file or a link that is not what it was. Change is added, modified or removed; modified is
// also one whose permission to be run has changed.
type FileChange struct {
	Path      string `json:"path"` // below /workspace
	Change    string `json:"change"`
	SizeBytes int64  `json:"size_bytes"` // as it is now
}

// SyncTaskRequest asks for a task's workspace to get what changed in the directory that it was seeded from.
// What is in .git directories stays as it is.
type SyncTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Force has the host's files replace those that the task changed as well.
	Force bool `json:"force,omitempty" jsonschema:"replace files that the task changed as well"`
	// Progress, if set, is called as the copy goes on.
	Progress func(PullProgress) `json:"-"`
}

// SyncTaskResult says which files were written and removed in the task, and which were left as the task has
// them because it changed them as well.
type SyncTaskResult struct {
	TaskID    string   `json:"task_id"`
	Written   []string `json:"written"`
	Removed   []string `json:"removed"`
	Conflicts []string `json:"conflicts"`
}
