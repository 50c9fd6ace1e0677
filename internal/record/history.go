package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/pyro-mcp/pyro/internal/text"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// OutputLimit is how much of each of a command's output streams is kept, in bytes.
const OutputLimit = 1 << 20

// maxLine bounds one line of a history. The streams once stood in it: two at their limit, each byte
// escaped at its worst.
const maxLine = 2*6*OutputLimit + 1<<20

// maxCommand bounds what an entry holds of its command, in bytes.
const maxCommand = 64 << 10

// Entry is one command of a VM's history. It is appended twice: when the command starts (Running), and when
// it has ended. A command that started and never ended was interrupted by the end of its guest.
type Entry struct {
	Sequence        int       `json:"sequence"`
	Running         bool      `json:"running,omitempty"`
	Interrupted     bool      `json:"interrupted,omitempty"`
	Command         string    `json:"command"`
	CWD             string    `json:"cwd"`
	StartedAt       time.Time `json:"started_at"`
	DurationMS      int64     `json:"duration_ms"`
	ExitCode        int       `json:"exit_code"`
	TimedOut        bool      `json:"timed_out,omitempty"`
	Stdout          string    `json:"stdout"`
	Stderr          string    `json:"stderr"`
	StdoutTruncated bool      `json:"stdout_truncated,omitempty"`
	StderrTruncated bool      `json:"stderr_truncated,omitempty"`
	ExecutionMode   string    `json:"execution_mode"`
	Notice          string    `json:"notice,omitempty"`
	Shell           string    `json:"shell,omitempty"`
	// What the notice is about, as package link names causes
	Cause string `json:"cause,omitempty"`

	// Where the streams are, in the file of outputs; nil of an entry that holds them itself, as they once
	// all did.
	Out *Span `json:"out,omitempty"`
	Err *Span `json:"err,omitempty"`

	line span // where the entry is
}

// InterruptedExit is the exit code that an interrupted command is given: that of one killed by SIGKILL.
const InterruptedExit = 137

// Interrupt gives the entry of a command that never ended as one that was interrupted.
func (e Entry) Interrupt() Entry {
	e.Running, e.Interrupted, e.ExitCode = false, true, InterruptedExit
	return e
}

// Append adds an entry to a VM's history with one write, its streams before it in the file of outputs,
// and waits for the disk if durable is set.
func Append(dir string, e Entry, durable bool) (err error) {
	if len(e.Command) > maxCommand {
		e.Command = strings.ToValidUTF8(e.Command[:maxCommand], "") + " …"
	}
	if e.Out, e.Err, err = keepOutputs(dir, e.Stdout, e.Stderr, durable); err != nil {
		return err
	}
	e.Stdout, e.Stderr = "", ""
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, HistoryFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	// A writer that was killed may have left half a line: it is closed here, and skipped by the reader.
	if size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			data = append([]byte{'\n'}, data...)
		}
	}
	if _, err := f.Write(append(data, '\n')); err != nil {
		// What was written of it must not run into the next entry.
		return errors.Join(fmt.Errorf("cannot write the history: %w", err), f.Truncate(size))
	}
	if durable {
		return f.Sync()
	}
	return nil
}

// History reads a VM's history in order of sequence, without the streams (see [Entry.Load]). If alive
// is false, commands that never ended are given as interrupted. Lines that are damaged are left out.
func History(dir string, alive bool) ([]Entry, error) {
	f, err := os.Open(filepath.Join(dir, HistoryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var entries []Entry
	place := map[int]int{}
	lines := bufio.NewReaderSize(f, 64<<10)
	for at := int64(0); ; {
		line, length, err := text.Line(lines, maxLine, 0)
		if err == io.EOF {
			break // a last line without its end was cut by a crash
		}
		if err != nil && err != text.ErrTooLong {
			return nil, err
		}
		e := Entry{line: span{at, length}}
		at += length
		if json.Unmarshal(line, &e) != nil || e.Sequence <= 0 {
			continue
		}
		e.Stdout, e.Stderr = "", ""
		if i, ok := place[e.Sequence]; ok {
			entries[i] = e
			continue
		}
		place[e.Sequence] = len(entries)
		entries = append(entries, e)
	}
	if !alive {
		for i := range entries {
			if entries[i].Running {
				entries[i] = entries[i].Interrupt()
			}
		}
	}
	return entries, nil
}
