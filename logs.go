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

// LogsTask gives a task's history, and if asked follows what goes on.
func (p *Pyro) LogsTask(ctx context.Context, r LogsTaskRequest) (LogsTaskResult, error) {
	for name, value := range map[string]int{"sequence": r.Sequence, "offset_bytes": r.OffsetBytes,
		"max_bytes": r.MaxBytes} {
		if err := ParameterNamed(name).check(value); err != nil {
			return LogsTaskResult{}, err
		}
	}
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
		return LogsTaskResult{}, err
	}
	dir := p.instances.Dir(r.TaskID)
	history, err := record.History(dir, p.instances.Alive(r.TaskID))
	if err != nil {
		return LogsTaskResult{}, fmt.Errorf("cannot read the history of %q: %w", r.TaskID, err)
	}
	out := LogsTaskResult{TaskID: r.TaskID, Count: len(history), Entries: []LogEntry{}}
	switch {
	case r.Sequence != 0:
		err = r.choose(dir, history, &out)
	case r.Each != nil:
		err = r.each(dir, history)
	default:
		out.Entries, err = newest(dir, history)
	}
	if err == nil && r.Follow != nil {
		err = p.follow(ctx, r)
	}
	return out, err
}

// each hands the entries on one at a time, so that no more than one is held.
func (r LogsTaskRequest) each(dir string, history []record.Entry) error {
	for _, e := range history {
		if err := e.Load(dir); err != nil {
			return err
		}
		if err := r.Each(len(history), viewEntry(e)); err != nil {
			return err
		}
	}
	return nil
}

// maxListedOutput bounds the streams that a whole history is given with, in bytes.
const maxListedOutput = 4 << 20

// newest gives all entries, the newest with their streams as far as there is room.
func newest(dir string, history []record.Entry) ([]LogEntry, error) {
	out := make([]LogEntry, len(history))
	room := maxListedOutput
	for i := len(history) - 1; i >= 0; i-- {
		e := history[i]
		if room > 0 {
			if err := e.Load(dir); err != nil {
				return nil, err
			}
			room -= len(e.Stdout) + len(e.Stderr)
		}
		if room <= 0 {
			e.StdoutTruncated = e.StdoutTruncated || e.Stdout != "" || e.Out == nil || e.Out.Length > 0
			e.StderrTruncated = e.StderrTruncated || e.Stderr != "" || e.Err == nil || e.Err.Length > 0
			e.Stdout, e.Stderr = "", ""
		}
		out[i] = viewEntry(e)
	}
	return out, nil
}

// choose narrows a history to one command. Count stays that of the whole history.
func (r LogsTaskRequest) choose(dir string, history []record.Entry, out *LogsTaskResult) error {
	i := slices.IndexFunc(history, func(e record.Entry) bool { return e.Sequence == r.Sequence })
	if i < 0 {
		return &Error{Kind: ErrNotFound,
			Message: fmt.Sprintf("task %q has no command with sequence %d; it has run %d", r.TaskID,
				r.Sequence, len(history))}
	}
	if err := history[i].Load(dir); err != nil {
		return err
	}
	e := viewEntry(history[i])
	var more bool
	if e.Stdout, more = window(e.Stdout, r.OffsetBytes, r.MaxBytes); more {
		e.StdoutTruncated = true
	}
	if e.Stderr, more = window(e.Stderr, r.OffsetBytes, r.MaxBytes); more {
		e.StderrTruncated = true
	}
	out.Entries = []LogEntry{e}
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
				if err := entry.Load(f.dir); err != nil {
					return err
				}
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
			StdoutBase64:    record.Unprintable(e.Stdout),
			StderrBase64:    record.Unprintable(e.Stderr),
			TimedOut:        e.TimedOut,
			DurationMS:      e.DurationMS,
			ExecutionMode:   e.ExecutionMode,
			Shell:           e.Shell,
			Notice:          e.Notice,
			Cause:           e.Cause,
		},
	}
}
