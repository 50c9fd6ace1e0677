package supervisor

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// output gives a job's output to read from. One that has ended is opened anew; close it in either case.
func (j *job) output() (out *record.Output, release func(), err error) {
	select {
	case <-j.done:
	default:
		return j.out, func() {}, nil
	}
	out, err = record.OpenOutput(record.JobDir(j.s.dir, j.rec.ID))
	if err != nil {
		return nil, nil, err
	}
	out.Finish()
	return out, func() { out.Close() }, nil
}

// readJob gives output, and waits for it if that is asked for.
func (s *supervisor) readJob(ctx context.Context, p link.JobRead) (any, error) {
	j, err := s.job(p.ID)
	if err != nil {
		return nil, err
	}
	if p.Limit <= 0 || p.Limit > maxJobRead {
		p.Limit = maxJobRead
	}
	out, release, err := j.output()
	if err != nil {
		return nil, err
	}
	defer release()
	if _, end := out.Bounds(); p.From < 0 {
		p.From = max(0, end+p.From) // from the end
	}
	if p.WaitMS > 0 {
		wait := min(time.Duration(p.WaitMS)*time.Millisecond, maxJobTimeout)
		limited, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		out.Await(limited, p.From)
		if p.IdleMS > 0 {
			awaitQuiet(limited, out, p.From, p.Limit, time.Duration(p.IdleMS)*time.Millisecond)
		}
	}
	pieces, from, err := out.Read(p.From, p.Limit)
	if out == j.out && (err != nil || len(pieces) == 0) {
		// It may have ended, and its files been closed, in between.
		again, release, failed := j.output()
		if failed != nil {
			return nil, failed
		}
		defer release()
		pieces, from, err = again.Read(p.From, p.Limit)
	}
	if err != nil {
		return nil, err
	}
	answer := link.JobOutput{
		From:   from,
		Next:   from,
		Pieces: make([]link.JobPiece, len(pieces)),
		Job:    j.snapshot(),
	}
	for i, piece := range pieces {
		answer.Pieces[i] = link.JobPiece(piece)
		answer.Next += int64(len(piece.Data))
	}
	return answer, nil
}

// awaitQuiet returns when nothing has come for a while, or enough has.
func awaitQuiet(ctx context.Context, out *record.Output, from int64, enough int, quiet time.Duration) {
	for {
		_, end := out.Bounds()
		if end-from >= int64(enough) {
			return
		}
		pause, cancel := context.WithTimeout(ctx, quiet)
		out.Await(pause, end)
		over := pause.Err() != nil
		cancel()
		if _, now := out.Bounds(); over || now == end || ctx.Err() != nil {
			return
		}
	}
}

// attachJob sends a job's output as it comes, at the pace of who takes it, and passes its input on.
func (s *supervisor) attachJob(ctx context.Context, p link.JobAttach, stream *wire.Stream) (any, error) {
	j, err := s.job(p.ID)
	if err != nil {
		return nil, err
	}
	out, release, err := j.output()
	if err != nil {
		return nil, err
	}
	defer release()
	if _, end := out.Bounds(); p.From < 0 {
		p.From = end
	}
	if p.Stdin {
		go j.feed(ctx, stream, p.End)
		defer stream.CloseRecv()
	}
	for at := p.From; ; {
		out.Await(ctx, at)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		pieces, from, err := out.Read(at, 64<<10)
		if err != nil || len(pieces) == 0 {
			select {
			case <-j.done:
			default:
				if _, end := out.Bounds(); end > at {
					continue
				}
				<-j.done // Its output is complete, and its end is being written down.
			}
			return s.attachEnded(j, at, stream)
		}
		if at, err = send(stream, pieces, at, from); err != nil {
			return nil, err
		}
	}
}

// attachEnded sends what is left of the output of a job that has ended, from its files.
func (s *supervisor) attachEnded(j *job, at int64, stream *wire.Stream) (any, error) {
	out, release, err := j.output()
	if err != nil {
		return nil, err
	}
	defer release()
	for {
		pieces, from, err := out.Read(at, 64<<10)
		if err != nil {
			return nil, err
		}
		if len(pieces) == 0 {
			return j.snapshot(), nil
		}
		if at, err = send(stream, pieces, at, from); err != nil {
			return nil, err
		}
	}
}

// send passes pieces on, and says before them what is missing.
func send(stream *wire.Stream, pieces []record.Piece, at, from int64) (int64, error) {
	if from > at {
		note, err := json.Marshal(link.JobLost{Bytes: from - at})
		if err != nil {
			return at, err
		}
		if err := stream.Send(link.KindNote, note); err != nil {
			return at, err
		}
	}
	at = from
	for _, piece := range pieces {
		if err := stream.Send(piece.Stream, piece.Data); err != nil {
			return at, err
		}
		at += int64(len(piece.Data))
	}
	return at, nil
}

// feed passes on what an attached client types. What a command does not take is dropped.
func (j *job) feed(ctx context.Context, stream *wire.Stream, end bool) {
	for {
		m, err := stream.Recv()
		if err == io.EOF && end {
			_ = j.write(ctx, nil, true)
		}
		if err != nil {
			return
		}
		switch m.Kind {
		case link.KindStdin:
			_ = j.write(ctx, m.Data, false)
		case link.KindResize:
			if size, ok := link.ParseSize(m.Data); ok {
				_ = j.resize(ctx, size)
			}
		}
	}
}
