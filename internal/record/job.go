package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// JobsDir is the directory of a VM's background commands: one for each, by its id.
const JobsDir = "commands"

// jobFile is a background command's record in its own directory.
const jobFile = "command.json"

// Job is the record of one background command. Its output stands beside it.
type Job struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"` // command, shell or service
	State     string          `json:"state"`
	Sequence  int             `json:"sequence"` // in the VM's history, 0 if it is not there
	Command   string          `json:"command"`
	Terminal  bool            `json:"terminal,omitempty"`
	Rows      uint16          `json:"rows,omitempty"` // of its terminal
	Cols      uint16          `json:"cols,omitempty"`
	Input     bool            `json:"input,omitempty"` // it takes input
	StartedAt time.Time       `json:"started_at"`
	EndedAt   *time.Time      `json:"ended_at"`
	ExitCode  *int            `json:"exit_code"` // nil until it has ended
	TimedOut  bool            `json:"timed_out,omitempty"`
	Notice    string          `json:"notice,omitempty"`
	Cause     string          `json:"cause,omitempty"`
	Restarts  int             `json:"restarts,omitempty"` // of a service
	Seen      [2]int64        `json:"seen"`               // bytes of its stdout and stderr that were kept
	Spec      json.RawMessage `json:"spec"`               // what was asked for, to start it again
}

// Ended tells whether a job has ended for good.
func (j Job) Ended() bool { return j.EndedAt != nil }

// Interrupt makes the record one of a job whose guest has ended.
func (j *Job) Interrupt(cause, why string) {
	now, code := time.Now().UTC().Truncate(time.Millisecond), InterruptedExit
	j.State, j.EndedAt, j.ExitCode, j.Cause, j.Notice = "interrupted", &now, &code, cause, why
}

// JobDir is the directory of one job.
func JobDir(dir, id string) string { return filepath.Join(dir, JobsDir, id) }

// SaveJob writes a job's record, and makes its directory.
func SaveJob(dir string, j Job) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	where := JobDir(dir, j.ID)
	if err := os.MkdirAll(where, 0o700); err != nil {
		return fmt.Errorf("cannot note the command %q: %w", j.ID, err)
	}
	draft := filepath.Join(where, jobFile+".new")
	if err := os.WriteFile(draft, data, 0o600); err != nil {
		return fmt.Errorf("cannot note the command %q: %w", j.ID, err)
	}
	return os.Rename(draft, filepath.Join(where, jobFile))
}

// RemoveJob removes a job with its output.
func RemoveJob(dir, id string) error { return os.RemoveAll(JobDir(dir, id)) }

// Jobs reads the records of all jobs, in the order in which they were started. What cannot be read is left
// out.
func Jobs(dir string) ([]Job, error) {
	entries, err := os.ReadDir(filepath.Join(dir, JobsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var jobs []Job
	for _, e := range entries {
		if j, ok := loadJob(filepath.Join(dir, JobsDir, e.Name(), jobFile)); ok && j.ID == e.Name() {
			jobs = append(jobs, j)
		}
	}
	slices.SortFunc(jobs, func(a, b Job) int {
		if c := a.StartedAt.Compare(b.StartedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return jobs, nil
}

func loadJob(path string) (j Job, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return Job{}, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	return j, err == nil && json.Unmarshal(data, &j) == nil
}
