package supervisor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/guest"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// grace is how much later than the agent the supervisor itself ends a command that is over its time: a guest
// that is stuck must not keep its caller.
const grace = 400 * time.Millisecond

// exec runs one command and writes it down before it answers.
func (s *supervisor) exec(
	ctx context.Context, req link.Request, stream *wire.Stream, c *session,
) (any, error) {
	var want link.Exec
	if err := json.Unmarshal(req.Params, &want); err != nil {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "the command cannot be read: " + err.Error()}
	}
	g, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	if want.Last {
		c.bound.Store(true)
	}
	took := phase.Start(s.log)
	run := s.begin(want, g)
	sequence := slog.Int("command", run.entry.Sequence)
	took.Done("command noted", sequence)
	if s.snapshot().Kind == record.KindTask {
		// By this it is found again in a guest that goes on from a snapshot.
		want.ID = commandID(run.entry.Sequence)
	}
	want.ClockNS = time.Now().UnixNano()
	if req.Params, err = json.Marshal(want); err != nil {
		return nil, err
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	if want.TimeoutMS > 0 {
		limited, cancel = context.WithTimeout(ctx,
			time.Duration(want.TimeoutMS+want.GraceMS)*time.Millisecond+grace)
		defer cancel()
	}
	reply, err := g.Forward(limited, req, stream, run.tap)
	result, failure := run.outcome(ctx, limited, reply, err)
	took.Done("command ended", sequence, "guest_ms", run.guestMS)
	if failure == nil && !run.stuck && s.snapshot().Kind == record.KindTask {
		failure = run.sync(limited, &result)
		took.Done("disk synced", sequence)
	}
	if run.stuck {
		go g.ProveAlive()
	}
	if failure != nil {
		failure = g.Lost(failure)
	} else if run.cutShort() {
		failure = errCutShort
	}
	if err := s.finishRun(run, result, failure); err != nil {
		return nil, err
	}
	return result, failure
}

// signal passes a signal on to a command, which its caller may call by another id than the guest does.
func (s *supervisor) signal(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	p, err := link.Decode[link.Signal](req)
	if err != nil {
		return nil, err
	}
	g := s.current()
	if g == nil {
		return nil, s.notStarted()
	}
	again := false
	s.mu.Lock()
	for r := range s.runs {
		if r.want.ID != p.ID {
			continue
		}
		if s.vm.Kind == record.KindTask {
			p.ID = commandID(r.entry.Sequence)
		}
		if p.Number == int(syscall.SIGTERM) {
			again = s.stopping && r.told // The caller was told to end as we were.
			r.told = true
		}
		break
	}
	s.mu.Unlock()
	if again {
		return link.Empty{}, nil
	}
	if req.Params, err = json.Marshal(p); err != nil {
		return nil, err
	}
	return g.Pass(ctx, req, stream)
}

// sync has what a command wrote written to the disk, within the command's time limit. What is not there by
// then is still on its way: the result says so. A guest that does not write it within its own limit is asked
// for a sign of life.
func (r *run) sync(limited context.Context, result *link.ExecResult) error {
	err := r.g.SyncWithin(limited)
	if err != nil && limited.Err() != nil {
		go func() {
			if r.g.Sync() != nil {
				r.g.ProveAlive()
			}
		}()
		if result.Notice == "" {
			result.Notice = "the command's time limit came before its files were on the disk; " +
				"they are on their way"
		}
		return nil
	}
	if err != nil {
		go r.g.ProveAlive()
		return unwritten(r.g, *result, err)
	}
	return nil
}

// unwritten words that a command has ended and what it wrote may be lost, of which success would be a lie.
func unwritten(g *running, result link.ExecResult, err error) error {
	out := &link.Error{Code: link.CodeNoSpace, Cause: link.CauseHostDisk}
	if why := g.DiskError(); why != "" {
		err = errors.New(guest.HostDisk(why))
	} else if far := (*link.Error)(nil); errors.As(err, &far) {
		out.Code, out.Cause = far.Code, far.Cause
	}
	out.Message = fmt.Sprintf("the command ended with %d, but what it wrote may be lost: %v", result.ExitCode,
		err)
	return out
}

// ready gives the guest for a command. A task whose guest has ended is started again: that is what its disk
// is for.
func (s *supervisor) ready(ctx context.Context) (*running, error) {
	if g := s.current(); g != nil {
		if !g.Dying() {
			return g, nil
		}
		<-g.noted // What follows is about its successor.
	}
	if s.snapshot().Kind != record.KindTask {
		return nil, s.notStarted()
	}
	return s.started(ctx)
}

// run is a command while it runs.
type run struct {
	s       *supervisor
	g       *running
	job     *job // what it is a run of; nil is a command that its caller waits for
	want    link.Exec
	entry   record.Entry
	started time.Time
	out     record.Capture
	err     record.Capture
	taps    map[uint8]*record.MaskWriter // what is kept, without the secrets
	stuck   bool                         // the guest did not end the command in time by itself
	guestMS int64                        // how long it took in the guest, as that says
	told    bool                         // it was asked to end, by SIGTERM; guarded by the supervisor's mu
	done    chan struct{}                // closed when its end is written down
}

func (s *supervisor) begin(want link.Exec, g *running) *run {
	now := time.Now()
	r := &run{
		s:       s,
		g:       g,
		want:    want,
		started: now,
	}
	r.entry = record.Entry{
		Running:       true,
		Command:       shortened(maskOf(want.Secrets).Text(want.Line())),
		CWD:           want.WorkDir,
		StartedAt:     now.UTC().Truncate(time.Millisecond),
		ExecutionMode: g.Facts().Mode,
	}
	s.enter(r)
	return r
}

// enter notes that a command runs: a new one, or one that has gone on without us.
func (s *supervisor) enter(r *run) {
	r.keep(r.want.Secrets)
	r.done = make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.entry.Sequence == 0 {
		s.sequence++
		r.entry.Sequence = s.sequence
	}
	if !path.IsAbs(r.entry.CWD) {
		r.entry.CWD = path.Join("/", cmp.Or(s.vm.Boot.WorkDir, link.Workspace), r.entry.CWD)
	}
	if s.runs == nil {
		s.runs = map[*run]struct{}{}
	}
	s.runs[r] = struct{}{}
	if s.keepsHistory() {
		s.vm.Current = append(slices.Clone(s.vm.Current), record.Current{
			Sequence:  r.entry.Sequence,
			Command:   r.entry.Command,
			StartedAt: r.entry.StartedAt,
		})
		err := errors.Join(record.Append(s.dir, r.entry, false), record.Save(s.dir, s.vm, false))
		if err != nil {
			s.log.Error("cannot note a command's start", "error", err)
		}
	}
	s.audience.tell(func() link.Event {
		entry, _ := json.Marshal(r.entry)
		return link.Event{Kind: link.EventStart, Sequence: r.entry.Sequence, Entry: entry}
	})
}

// keepsHistory tells whether somebody could ever read it. The caller holds mu.
func (s *supervisor) keepsHistory() bool { return s.vm.Kind == record.KindTask && !s.removed }

// longestKept bounds what is kept of a command, in bytes: one of a million is as well known by its beginning.
const longestKept = 16 << 10

func shortened(line string) string {
	if len(line) <= longestKept {
		return line
	}
	return fmt.Sprintf("%s [pyro: %d bytes left out here]", strings.ToValidUTF8(line[:longestKept], ""),
		len(line)-longestKept)
}

// kept is one of a command's output streams, as it is kept and as followers see it.
type kept struct {
	run     *run
	kind    link.EventKind
	capture *record.Capture
}

func (k kept) Write(p []byte) (int, error) {
	k.capture.Write(p)
	k.run.s.audience.tell(func() link.Event {
		return link.Event{Kind: k.kind, Sequence: k.run.entry.Sequence, Data: append([]byte(nil), p...)}
	})
	return len(p), nil
}

// keep makes ready to keep the command's output, without the secrets that it was given.
func (r *run) keep(secrets []string) {
	mask := maskOf(secrets)
	r.taps = map[uint8]*record.MaskWriter{
		link.KindStdout: mask.Writer(kept{r, link.EventStdout, &r.out}),
		link.KindStderr: mask.Writer(kept{r, link.EventStderr, &r.err}),
	}
}

// maskOf hides the values of variables.
func maskOf(secrets []string) *record.Mask {
	var values []string
	for _, each := range secrets {
		_, value, _ := strings.Cut(each, "=")
		values = append(values, value)
	}
	return record.NewMask(values)
}

// tap sees each message from the guest on its way to the caller.
func (r *run) tap(m wire.Message) {
	if w := r.taps[m.Kind]; w != nil {
		_, _ = w.Write(m.Data) // It never fails.
	}
}

// outcome says how the command ended: by the guest's answer, or by the supervisor's own limit.
func (r *run) outcome(ctx, limited context.Context, reply link.Reply, err error) (link.ExecResult, error) {
	result := link.ExecResult{Sequence: r.entry.Sequence, Mode: r.g.Facts().Mode,
		DurationMS: time.Since(r.started).Milliseconds()}
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded):
		result.ExitCode, result.TimedOut, r.stuck = 124, true, true
	case errors.Is(err, link.ErrAskerGone), err != nil && ctx.Err() != nil:
		result.ExitCode = record.InterruptedExit
		return result, &link.Error{Code: link.CodeInternal, Cause: link.CauseCallerGone,
			Message: link.ErrAskerGone.Error()}
	case err != nil:
		result.ExitCode = record.InterruptedExit
		return result, err
	case reply.Error != nil:
		result.ExitCode = record.InterruptedExit
		return result, reply.Error
	default:
		var answer link.ExecResult
		if err := json.Unmarshal(reply.Result, &answer); err != nil {
			return result, fmt.Errorf("the guest's answer cannot be read: %w", err)
		}
		result.ExitCode, result.TimedOut = answer.ExitCode&0xff, answer.TimedOut
		r.guestMS = answer.DurationMS
		result.OOM, result.DiskFull = answer.OOM, answer.DiskFull
		if slices.Contains([]string{"bash", "sh"}, answer.Shell) {
			result.Shell = answer.Shell
		}
	}
	result.Cause, result.Notice = r.notice(result)
	return result, nil
}

// notice is pyro's own word on an ending that the exit code alone does not explain, and what it is about.
func (r *run) notice(result link.ExecResult) (link.Cause, string) {
	switch {
	case result.TimedOut:
		limit := time.Duration(r.want.TimeoutMS) * time.Millisecond
		return link.CauseTimeout, fmt.Sprintf("the command was killed at its time limit of %s", limit)
	case result.OOM:
		return link.CauseGuestMemory,
			fmt.Sprintf("the guest ran out of its %d MiB of memory and something was killed",
				r.g.Facts().MemMiB)
	case result.ExitCode == 0:
		return "", ""
	case r.g.DiskError() != "":
		return link.CauseHostDisk, guest.HostDisk(r.g.DiskError())
	case result.DiskFull:
		return link.CauseGuestDisk, "the guest's disk is full"
	}
	return "", ""
}

// finishRun writes a command's end down.
func (s *supervisor) finishRun(r *run, result link.ExecResult, failure error) error {
	e := r.entry
	e.Running, e.DurationMS, e.ExitCode = false, result.DurationMS, result.ExitCode
	e.TimedOut, e.Notice, e.Cause = result.TimedOut, result.Notice, string(result.Cause)
	if failure != nil {
		e.Interrupted, e.Notice = true, failure.Error()
		if known := (*link.Error)(nil); s.pausing {
			e.Cause = string(link.CausePaused)
			e.Notice = "the task was paused while the command ran; it goes on when the task does"
		} else if errors.As(failure, &known) {
			e.Cause = string(known.Cause)
		}
	}
	for _, w := range r.taps {
		_ = w.Flush() // It never fails.
	}
	e.Shell = result.Shell
	e.Stdout, e.StdoutTruncated = r.out.String(), r.out.Truncated()
	e.Stderr, e.StderrTruncated = r.err.String(), r.err.Truncated()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.audience.tell(func() link.Event { return link.Event{Kind: link.EventEnd, Sequence: e.Sequence} })
	defer close(r.done)
	delete(s.runs, r)
	s.vm.CommandCount++
	s.vm.Current = slices.DeleteFunc(slices.Clone(s.vm.Current), func(c record.Current) bool {
		return c.Sequence == e.Sequence
	})
	s.vm.LastCommand = &record.LastCommand{Command: e.Command, ExitCode: e.ExitCode}
	if !s.keepsHistory() {
		return nil
	}
	// The history is the truth; the record repeats its end for those who only look, and need not reach the
	// disk.
	if err := errors.Join(record.Append(s.dir, e, true), record.Save(s.dir, s.vm, false)); err != nil {
		return &link.Error{
			Code:  link.CodeNoSpace,
			Cause: link.CauseHostDisk,
			Message: fmt.Sprintf("the command ended with %d, but its record cannot be written: %v",
				e.ExitCode, err),
		}
	}
	return nil
}
