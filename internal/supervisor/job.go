package supervisor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// job is one background command.
type job struct {
	s       *supervisor
	spec    link.JobStart
	waits   bool // it ran in a guest that may go on with it; guarded by the jobs' mu
	entry   *run
	out     *record.Output
	done    chan struct{} // closed when it has ended for good
	settled chan struct{} // closed when a service is ready, or has ended

	settle sync.Once
	end    context.CancelCauseFunc // kills it
	over   context.Context

	mu      sync.Mutex
	rec     record.Job
	guest   *running
	inGuest string     // its id there, empty while it does not run
	keys    *input     // nil if it takes no input
	stopped bool       // it was asked to end
	watch   *lineWatch // nil if nobody waits for a line
}

var errStopped = errors.New("the command was stopped")

// refuse words why something cannot be done.
func refuse(code link.Code, format string, args ...any) error {
	return &link.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func newJob(s *supervisor, p link.JobStart) (*job, error) {
	if p.Name != "" && !link.ValidCommandID(p.Name) {
		return nil, refuse(link.CodeInvalid, "%q cannot be a command's name", p.Name)
	}
	kept := p
	kept.Exec.Secrets = nil // They are in this process's memory and in the guest's, and nowhere else.
	spec, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	j := &job{
		s:       s,
		spec:    p,
		done:    make(chan struct{}),
		settled: make(chan struct{}),
	}
	j.over, j.end = context.WithCancelCause(context.Background())
	j.rec = record.Job{
		Kind:      p.Kind,
		State:     link.JobRunning,
		Command:   maskOf(p.Exec.Secrets).Text(p.Exec.Line()),
		Terminal:  p.Exec.Terminal != nil,
		Input:     p.Exec.Stdin,
		StartedAt: time.Now().UTC().Truncate(time.Millisecond),
		Spec:      spec,
	}
	if terminal := p.Exec.Terminal; terminal != nil {
		j.rec.Rows, j.rec.Cols = cmp.Or(terminal.Rows, 24), cmp.Or(terminal.Cols, 80)
	}
	if p.Service != nil {
		j.rec.State = link.JobStarting
	}
	return j, nil
}

// open makes the job's place on disk.
func (j *job) open() (err error) {
	if err := record.SaveJob(j.s.dir, j.rec); err != nil {
		return err
	}
	j.out, err = record.OpenOutput(record.JobDir(j.s.dir, j.rec.ID))
	return err
}

func (j *job) snapshot() record.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rec
}

// update changes the record and writes it down, unless the VM is gone.
func (j *job) update(change func(*record.Job)) {
	j.mu.Lock()
	change(&j.rec)
	rec := j.rec
	j.mu.Unlock()
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.s.removed {
		return
	}
	if err := record.SaveJob(j.s.dir, rec); err != nil {
		j.s.log.Warn("cannot write down what became of a command", "error", err)
	}
}

// run runs the job to its end. A command keeps the VM from expiring; a shell or a service does not.
func (j *job) run(g *running) {
	if j.spec.Service == nil && j.spec.Kind == link.JobCommand {
		defer j.s.hold()()
	}
	defer j.end(nil)
	var result link.ExecResult
	var failure error
	if j.spec.Service != nil {
		result, failure = j.serve(g)
	} else {
		result, failure = j.once(j.over, g)
	}
	j.finish(g, result, failure)
}

// once runs the command, and tells how it ended.
func (j *job) once(ctx context.Context, g *running) (link.ExecResult, error) {
	e := j.spec.Exec
	e.ClockNS = time.Now().UnixNano()
	j.mu.Lock()
	e.ID = inGuestID(j.rec)
	j.rec.Seen = [2]int64{}
	j.mu.Unlock()
	return j.converse(ctx, g, e.ID, func(std link.Streams) (link.ExecResult, error) {
		return g.Exec(ctx, e, std)
	})
}

// converse is the caller of the command, which talk starts or finds, until it has ended.
func (j *job) converse(
	ctx context.Context, g *running, id string, talk func(link.Streams) (link.ExecResult, error),
) (link.ExecResult, error) {
	std, release := j.streams()
	j.mu.Lock()
	j.guest, j.inGuest = g, id
	j.mu.Unlock()
	began := time.Now()
	answer, err := talk(std)
	j.mu.Lock()
	j.inGuest = ""
	j.mu.Unlock()
	release()
	for _, masked := range []io.Writer{std.Stdout, std.Stderr} {
		_ = masked.(*sink).masked.Flush() // It never fails.
	}
	if err != nil && context.Cause(ctx) != nil {
		took := time.Since(began).Milliseconds()
		return link.ExecResult{ExitCode: record.InterruptedExit, DurationMS: took}, nil
	}
	if err != nil {
		return link.ExecResult{ExitCode: record.InterruptedExit}, g.Lost(err)
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return link.ExecResult{}, err
	}
	return j.entry.outcome(context.Background(), context.Background(), link.Reply{Result: raw}, nil)
}

// sink keeps what the command writes to one of its streams.
func (j *job) sink(stream uint8) io.Writer {
	keep := &keeper{job: j, stream: stream}
	return &sink{job: j, stream: stream, masked: maskOf(j.spec.Exec.Secrets).Writer(keep)}
}

type sink struct {
	job    *job
	stream uint8
	masked *record.MaskWriter // keeps it
}

// Write never fails: a command does not end because the host's disk is full.
func (k *sink) Write(p []byte) (int, error) {
	j := k.job
	j.mu.Lock()
	j.rec.Seen[k.stream-record.StreamStdout] += int64(len(p))
	j.mu.Unlock()
	j.mu.Lock()
	watch := j.watch
	j.mu.Unlock()
	if watch != nil {
		watch.Write(p)
	}
	_, _ = k.masked.Write(p)
	return len(p), nil
}

// keeper keeps output of which the secrets are hidden.
type keeper struct {
	job    *job
	stream uint8
	failed bool
}

// Write never fails, either.
func (k *keeper) Write(p []byte) (int, error) {
	j := k.job
	if err := j.out.Append(k.stream, p); err != nil && !k.failed {
		k.failed = true
		j.update(func(rec *record.Job) {
			rec.Notice, rec.Cause = "output is missing: "+err.Error(), string(link.CauseHostDisk)
		})
	}
	kind := link.EventStdout
	if k.stream == record.StreamStderr {
		kind = link.EventStderr
	}
	j.s.audience.tell(func() link.Event {
		return link.Event{Kind: kind, Sequence: j.rec.Sequence, Data: append([]byte(nil), p...)}
	})
	return len(p), nil
}

// finish writes a job's end down.
func (j *job) finish(g *running, result link.ExecResult, failure error) {
	if failure != nil && j.s.isPausing() {
		j.suspend()
		return
	}
	if failure == nil && !j.stopped && j.s.isStopping() {
		failure = errCutShort
	}
	if failure == nil {
		failure = g.Sync()
	}
	j.out.Finish()
	if err := j.s.finishRun(j.entry, result, failure); err != nil {
		j.s.log.Warn("cannot write down a command's end", "error", err)
	}
	j.update(func(rec *record.Job) {
		now := time.Now().UTC().Truncate(time.Millisecond)
		rec.EndedAt, rec.ExitCode, rec.TimedOut = &now, &result.ExitCode, result.TimedOut
		if result.Notice != "" {
			rec.Notice, rec.Cause = result.Notice, string(result.Cause)
		}
		var known *link.Error
		switch {
		case failure != nil:
			rec.State, rec.Notice = link.JobInterrupted, failure.Error()
			if errors.As(failure, &known) {
				rec.Cause = string(known.Cause)
			}
		case j.stopped:
			rec.State = link.JobStopped
		case rec.State != link.JobFailed:
			rec.State = link.JobExited
		}
	})
	j.settle.Do(func() { close(j.settled) })
	close(j.done)
	if err := j.out.Close(); err != nil {
		j.s.log.Warn("cannot close a command's output", "error", err)
	}
}

// current gives what runs in the guest.
func (j *job) current() (g *running, id string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.inGuest == "" {
		return nil, "", refuse(link.CodeState, "%q does not run", j.rec.ID)
	}
	return j.guest, j.inGuest, nil
}

func (j *job) signal(ctx context.Context, n syscall.Signal) error {
	g, id, err := j.current()
	if err != nil {
		return err
	}
	return j.reach(ctx, func() error { return g.Lost(g.Signal(ctx, link.Signal{ID: id, Number: int(n)})) })
}

// reach does something to the command in the guest, which may have been asked to start it a moment ago and
// not have heard of it yet.
func (j *job) reach(ctx context.Context, do func() error) error {
	const patience, pace = 5 * time.Second, 5 * time.Millisecond
	for until := time.Now().Add(patience); ; {
		err := do()
		var far *link.Error
		if !errors.As(err, &far) || far.Code != link.CodeNotFound || time.Now().After(until) {
			return err
		}
		select {
		case <-time.After(pace):
		case <-j.done:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

func (j *job) resize(ctx context.Context, size link.Size) error {
	g, id, err := j.current()
	if err != nil {
		return err
	}
	err = j.reach(ctx, func() error { return g.Lost(g.Resize(ctx, link.Resize{ID: id, Size: size})) })
	if err == nil {
		j.update(func(rec *record.Job) { rec.Rows, rec.Cols = cmp.Or(size.Rows, 24), cmp.Or(size.Cols, 80) })
	}
	return err
}

// write passes input on, and waits until the command's side has taken it or the context ends.
func (j *job) write(ctx context.Context, p []byte, end bool) error {
	j.mu.Lock()
	keys, running := j.keys, j.inGuest != ""
	j.mu.Unlock()
	switch {
	case !running:
		return refuse(link.CodeState, "%q does not run", j.rec.ID)
	case keys == nil:
		return refuse(link.CodeState, "%q takes no input", j.rec.ID)
	}
	n, err := keys.write(ctx, p, end)
	switch {
	case errors.Is(err, errNoMoreInput):
		return refuse(link.CodeState, "%q takes no more input: it took %d of %d bytes", j.rec.ID, n, len(p))
	case err != nil:
		const deaf = "%q does not read its input: it took %d of %d bytes"
		return refuse(link.CodeState, deaf, j.rec.ID, n, len(p))
	}
	return nil
}

// stop asks the job to end, kills it if it has not in time, and returns when it is over.
func (j *job) stop(ctx context.Context, grace time.Duration) {
	select {
	case <-j.done:
		return
	default:
	}
	j.mu.Lock()
	j.stopped = true
	j.mu.Unlock()
	if grace > 0 && j.signal(ctx, j.politely()) == nil {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-j.done:
			return
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	j.end(errStopped)
	<-j.done
}

// politely is the signal by which the job is asked to end.
func (j *job) politely() syscall.Signal {
	if j.spec.Kind == link.JobShell {
		return syscall.SIGHUP // which is how a shell learns that its terminal is gone
	}
	return syscall.SIGTERM
}
