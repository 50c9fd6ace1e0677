package pyro

import (
	"io"
	"time"
)

// Bounds of what one call carries in its parameters or its result, in bytes.
const (
	DefaultReadBytes   = 1 << 20
	maxReadBytes       = 8 << 20
	DefaultListEntries = 1000
)

// ReadFileRequest asks for a part of a file of a task.
type ReadFileRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Path is absolute, or below /workspace. Links are followed in the guest.
	Path string `json:"path" jsonschema:"path in the guest, below /workspace unless absolute"`
	// OffsetBytes is where to begin.
	OffsetBytes int `json:"offset_bytes,omitempty" jsonschema:"where in the file to begin, in bytes"`
	// MaxBytes is how much to read at most.
	MaxBytes int `json:"max_bytes,omitempty" default:"none" jsonschema:"how much to read at most, in bytes (1 MiB if left out, 8 MiB at most)"`
}

// ReadFileResult is what was read. Exactly one of Content and ContentBase64 is set, unless nothing was read.
type ReadFileResult struct {
	TaskID string `json:"task_id"`
	FileInfo
	// Content is what was read, if it is UTF-8.
	Content string `json:"content"`
	// ContentBase64 is what was read, if it is not.
	ContentBase64 string `json:"content_base64,omitempty"`
	// Truncated says that more follows.
	Truncated bool `json:"truncated"`
}

// FileInfo is what is known of a file in a guest. Type is file, directory, link or other.
type FileInfo struct {
	Path       string    `json:"path"`
	Type       string    `json:"type"`
	SizeBytes  int64     `json:"size_bytes"`
	Mode       string    `json:"mode"` // octal digits
	UID        int       `json:"uid"`
	GID        int       `json:"gid"`
	ModifiedAt time.Time `json:"modified_at"`
	Target     string    `json:"target,omitempty"` // of a link
}

// WriteFileRequest asks for a file of a task to be made, or replaced as a whole. Directories above it are
// made.
type WriteFileRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Path is absolute, or below /workspace.
	Path string `json:"path" jsonschema:"path in the guest, below /workspace unless absolute"`
	// Content is the new content, unless ContentBase64 is set.
	Content string `json:"content,omitempty" jsonschema:"the whole new content"`
	// ContentBase64 is the new content if it is not UTF-8.
	ContentBase64 string `json:"content_base64,omitempty" jsonschema:"the whole new content in Base64, in place of content"`
	// Mode is the permissions in octal digits. Left out they are those of the file that is there, else 644.
	Mode string `json:"mode,omitempty" default:"none" jsonschema:"permissions in octal digits, such as 755"`
}

// WriteFileResult is the written file.
type WriteFileResult struct {
	TaskID string `json:"task_id"`
	FileInfo
}

// ListFilesRequest asks for what is in a directory of a task.
type ListFilesRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Path is absolute, or below /workspace; left out it is /workspace.
	Path string `json:"path,omitempty" jsonschema:"directory in the guest, /workspace if left out"`
	// Recursive lists what is below it as well.
	Recursive bool `json:"recursive,omitempty" jsonschema:"also what is in directories below"`
	// MaxEntries is how many at most.
	MaxEntries int `json:"max_entries,omitempty" jsonschema:"how many entries at most"`
}

// ListFilesResult is what is in a directory, in the order of names.
type ListFilesResult struct {
	TaskID    string     `json:"task_id"`
	Path      string     `json:"path"`
	Files     []FileInfo `json:"files"`
	Truncated bool       `json:"truncated"` // there is more
}

// UploadRequest asks for a file or a directory of the host to be copied into a task.
type UploadRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// HostPath is a file or a directory. A link is copied as what it leads to.
	HostPath string `json:"host_path" jsonschema:"a file or directory on the host"`
	// Path is the new name; if it is a directory that is there, the copy gets its old name below it.
	Path string `json:"path" jsonschema:"path in the guest, below /workspace unless absolute"`
	// Tar, if set, is a tar to unpack into the directory Path, in place of HostPath.
	Tar io.Reader `json:"-"`
	// Progress, if set, is called as the copy goes on.
	Progress func(PullProgress) `json:"-"`
}

// DownloadRequest asks for a file or a directory of a task to be copied to the host.
type DownloadRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Path is absolute, or below /workspace.
	Path string `json:"path" jsonschema:"path in the guest, below /workspace unless absolute"`
	// HostPath is the new name; if it is a directory that is there, the copy gets its old name below it.
	HostPath string `json:"host_path" jsonschema:"where to on the host"`
	// Tar, if set, gets a tar in place of HostPath.
	Tar io.Writer `json:"-"`
	// Progress, if set, is called as the copy goes on.
	Progress func(PullProgress) `json:"-"`
}

// CopyResult says what was copied.
type CopyResult struct {
	TaskID string `json:"task_id,omitempty"` // none of a run
	// Path is where the copy stands: in the guest, or on the host.
	Path         string   `json:"path"`
	EntryCount   int64    `json:"entry_count"`
	BytesWritten int64    `json:"bytes_written"` // sum of the files' lengths
	LeftOut      []string `json:"left_out,omitempty"`
	LeftOutCount int64    `json:"left_out_count,omitempty"`
}

// ExportTaskRequest asks for all that a task changed over its environment, its workspace included.
type ExportTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// HostPath is a file to be made, a tar as an image's layer with whiteouts for what was removed, if it
	// ends in .tar. Else it is a directory, made if missing, that gets the files.
	HostPath string `json:"host_path" jsonschema:"a .tar, or a directory, on the host"`
	// Tar, if set, gets the tar in place of HostPath.
	Tar io.Writer `json:"-"`
}

// PatchTaskRequest asks for a unified diff to be applied to files of a task, all of it or nothing.
type PatchTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// Patch is a unified diff of any number of files, as diff -u and git diff write it.
	Patch string `json:"patch" jsonschema:"a unified diff, as git diff writes it"`
	// Path is the directory that the diff's names are relative to; left out it is /workspace.
	Path string `json:"path,omitempty" jsonschema:"directory that the names are relative to, /workspace if left out"`
}

// PatchTaskResult says which files were changed.
type PatchTaskResult struct {
	TaskID  string   `json:"task_id"`
	Written []string `json:"written"`
	Removed []string `json:"removed"`
}

func (r *UploadRequest) setProgress(f func(PullProgress))   { r.Progress = f }
func (r *DownloadRequest) setProgress(f func(PullProgress)) { r.Progress = f }
func (r *SyncTaskRequest) setProgress(f func(PullProgress)) { r.Progress = f }
