package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// OutputLimit is how much of each of a command's output streams is kept, in bytes.
const OutputLimit = 1 << 20

// maxLine bounds one line of a history: two streams at their limit, each byte escaped at its worst.
const maxLine = 2*6*OutputLimit + 4<<20

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
	StdoutBytes     []byte    `json:"stdout_base64,omitempty"` // of a stream that is not UTF-8, which a text cannot hold
	StderrBytes     []byte    `json:"stderr_base64,omitempty"`
	Shell           string    `json:"shell,omitempty"`
	// What the notice is about, as package link names causes
	Cause string `json:"cause,omitempty"`
}

// InterruptedExit is the exit code that an interrupted command is given: that of one killed by SIGKILL.
const InterruptedExit = 137

// Interrupt gives the entry of a command that never ended as one that was interrupted.
func (e Entry) Interrupt() Entry {
	e.Running, e.Interrupted, e.ExitCode = false, true, InterruptedExit
	return e
}

// Append adds an entry to a VM's history with one write, and waits for the disk where durable is set.
func Append(dir string, e Entry, durable bool) (err error) {
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

// History reads a VM's history in order of sequence. Where alive is false, commands that never ended are
// given as interrupted. Lines that are damaged are left out.
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
	for {
		line, err := readLine(lines)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		var e Entry
		if json.Unmarshal(line, &e) != nil || e.Sequence <= 0 {
			continue
		}
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

// readLine gives the next line; one that is too long is given empty.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	tooLong := false
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			tooLong = true
		}
		if !tooLong {
			line = append(line, part...)
		}
		switch {
		case err == nil && tooLong:
			return nil, nil
		case err == nil:
			return bytes.TrimSuffix(line, []byte{'\n'}), nil
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			// A last line without its end was cut by a crash.
			return nil, err
		}
	}
}
