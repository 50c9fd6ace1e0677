package pyro

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

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
