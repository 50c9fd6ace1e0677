package pyro

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// LogsTask gives a task's history, and where asked follows what goes on.
func (p *Pyro) LogsTask(ctx context.Context, r LogsTaskRequest) (LogsTaskResult, error) {
	for name, value := range map[string]int{"sequence": r.Sequence, "offset_bytes": r.OffsetBytes,
		"max_bytes": r.MaxBytes} {
		if err := ParameterNamed(name).check(value); err != nil {
			return LogsTaskResult{}, err
		}
	}
	if err := p.mustBe(r.TaskID, record.KindTask); err != nil {
		return LogsTaskResult{}, err
	}
	history, err := record.History(p.instances.Dir(r.TaskID), p.instances.Alive(r.TaskID))
	if err != nil {
		return LogsTaskResult{}, fmt.Errorf("cannot read the history of %q: %w", r.TaskID, err)
	}
	out := LogsTaskResult{TaskID: r.TaskID, Count: len(history), Entries: make([]LogEntry, len(history))}
	for i, e := range history {
		out.Entries[i] = viewEntry(e)
	}
	if r.Sequence != 0 {
		if err := r.choose(&out); err != nil {
			return LogsTaskResult{}, err
		}
	}
	if r.Follow != nil {
		err = p.follow(ctx, r)
	}
	return out, err
}

// choose narrows a history to one command. Count stays that of the whole history.
func (r LogsTaskRequest) choose(history *LogsTaskResult) error {
	i := slices.IndexFunc(history.Entries, func(e LogEntry) bool { return e.Sequence == r.Sequence })
	if i < 0 {
		return &Error{Kind: ErrNotFound,
			Message: fmt.Sprintf("task %q has no command with sequence %d; it has run %d", r.TaskID,
				r.Sequence, history.Count)}
	}
	e := history.Entries[i]
	var more bool
	if e.Stdout, more = window(e.Stdout, r.OffsetBytes, r.MaxBytes); more {
		e.StdoutTruncated = true
	}
	if e.Stderr, more = window(e.Stderr, r.OffsetBytes, r.MaxBytes); more {
		e.StderrTruncated = true
	}
	history.Entries = []LogEntry{e}
	return nil
}

// window is the part of a stream that a caller asked for, and whether more follows.
func window(s string, offset, limit int) (string, bool) {
	s = s[min(offset, len(s)):]
	if limit == 0 || limit >= len(s) {
		return s, false
	}
	return s[:limit], true
}

// follow passes a task's events on until the context ends or the task does.
func (p *Pyro) follow(ctx context.Context, r LogsTaskRequest) error {
	s, err := p.instances.Connect(ctx, r.TaskID)
	if errors.Is(err, instances.ErrUnsupervised) {
		return nil
	}
	if err != nil {
		return fromLink("", err)
	}
	defer s.Close()
	lines, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := s.Client.Follow(ctx, link.OpFollow, link.Empty{}, w)
		w.CloseWithError(io.EOF)
		ended <- err
	}()
	f := &following{dir: p.instances.Dir(r.TaskID), tell: r.Follow, entries: map[int]LogEntry{}}
	scan := bufio.NewScanner(lines)
	scan.Buffer(nil, 4<<20)
	for scan.Scan() {
		if err := f.line(scan.Bytes()); err != nil {
			lines.CloseWithError(err)
			<-ended
			return err
		}
	}
	lines.Close()
	err = <-ended
	var far *link.Error
	if ctx.Err() != nil || errors.As(err, &far) && far.Code == link.CodeGuestLost {
		return nil
	}
	return errors.Join(err, scan.Err())
}

// following keeps what is known of the commands that run.
type following struct {
	dir     string
	tell    func(LogEvent)
	entries map[int]LogEntry
}

func (f *following) line(data []byte) error {
	var e link.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	switch e.Kind {
	case link.EventStart:
		var entry record.Entry
		if err := json.Unmarshal(e.Entry, &entry); err != nil {
			return err
		}
		f.entries[e.Sequence] = viewEntry(entry)
	case link.EventEnd:
		history, err := record.History(f.dir, true)
		if err != nil {
			return err
		}
		for _, entry := range history {
			if entry.Sequence == e.Sequence {
				f.entries[e.Sequence] = viewEntry(entry)
			}
		}
		defer delete(f.entries, e.Sequence)
	}
	entry := f.entries[e.Sequence]
	entry.Sequence = e.Sequence
	f.tell(LogEvent{Kind: string(e.Kind), Entry: entry, Data: e.Data})
	return nil
}

func viewEntry(e record.Entry) LogEntry {
	if e.StdoutBytes != nil {
		e.Stdout = string(e.StdoutBytes)
	}
	if e.StderrBytes != nil {
		e.Stderr = string(e.StderrBytes)
	}
	return LogEntry{
		Sequence:    e.Sequence,
		CWD:         e.CWD,
		Command:     e.Command,
		StartedAt:   e.StartedAt,
		Running:     e.Running,
		Interrupted: e.Interrupted,
		Output: Output{
			ExitCode:        e.ExitCode,
			Stdout:          e.Stdout,
			Stderr:          e.Stderr,
			StdoutTruncated: e.StdoutTruncated,
			StderrTruncated: e.StderrTruncated,
			StdoutBase64:    e.StdoutBytes,
			StderrBase64:    e.StderrBytes,
			TimedOut:        e.TimedOut,
			DurationMS:      e.DurationMS,
			ExecutionMode:   e.ExecutionMode,
			Shell:           e.Shell,
			Notice:          e.Notice,
			Cause:           e.Cause,
		},
	}
}
