package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pyro-mcp/pyro/internal/guest"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// takeSnapshot keeps a task as it is, which goes on.
func (s *supervisor) takeSnapshot(ctx context.Context, req link.Request, c *session) (any, error) {
	want, err := link.Decode[link.TakeSnapshot](req)
	if err != nil {
		return nil, err
	}
	g, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	// Nobody stops it meanwhile.
	s.boot.Lock()
	defer s.boot.Unlock()
	jobs := s.runningJobs()
	s.mu.Lock()
	like := s.vm.Like()
	// What goes on on the host needs the leave that this one was given.
	like.AllowHostCompat = g.Facts().Mode == guest.ModeHost
	like.Jobs = jobs
	like.CommandCount = s.sequence
	for r := range s.runs {
		like.Running = append(like.Running, r.entry)
	}
	s.mu.Unlock()
	vm, err := json.Marshal(like)
	if err != nil {
		return nil, err
	}
	made, discard, err := g.Snapshot(ctx, guest.SnapshotRequest{
		StateDir: s.root.StateDir(),
		Name:     want.Name,
		VM:       vm,
		Brief:    want.Brief,
	})
	if err == nil && want.Brief {
		c.atEnd(discard)
	}
	return made, err
}

// rollback has a task go on from a snapshot. What ran in it ends; what ran when the snapshot was taken goes
// on.
func (s *supervisor) rollback(ctx context.Context, req link.Request) (any, error) {
	want, err := link.Decode[link.Rollback](req)
	if err != nil {
		return nil, err
	}
	begun, took := time.Now(), phase.Start(s.log)
	id, err := s.rollbackTo(want.Snapshot, took)
	if err != nil {
		return nil, err
	}
	if _, err := s.started(ctx); err != nil {
		return nil, err
	}
	took.Done("guest goes on from the snapshot")
	return link.Snapshot{ID: id, PauseMS: time.Since(begun).Milliseconds()}, nil
}

// rollbackTo ends the guest, whose next start is from the snapshot.
func (s *supervisor) rollbackTo(snapshot string, took *phase.Clock) (string, error) {
	s.boot.Lock()
	defer s.boot.Unlock()
	id, err := guest.KeepSnapshot(s.root.StateDir(), snapshot, s.id, s.dir, s.mayGoBack)
	if err != nil {
		return "", err
	}
	took.Done("snapshot at hand")
	if g := s.current(); g != nil {
		g.Kill()
		<-g.noted
		took.Done("guest ended")
	}
	return id, nil
}

// mayGoBack refuses a snapshot that is neither of this task nor the one that it was forked from: another's is
// of another environment, size or history. Nor does a guest go on from what was kept on the host, or the host
// from a guest's disk.
func (s *supervisor) mayGoBack(to guest.Origin) error {
	vm := s.snapshot()
	refuse := func(why string) error {
		return &link.Error{
			Code:    link.CodeInvalid,
			Cause:   link.CauseOtherSnapshot,
			Message: fmt.Sprintf("the snapshot %q %s", to.ID, why),
		}
	}
	if to.Source != s.id && to.ID != vm.From {
		return refuse(fmt.Sprintf("is of %q, and a task goes back only to its own snapshots and the one "+
			"that it was forked from", to.Source))
	}
	if host := vm.ExecutionMode == guest.ModeHost; vm.ExecutionMode != "" && host != to.Host {
		return refuse(fmt.Sprintf("was taken when its execution mode was not %q", vm.ExecutionMode))
	}
	return nil
}

// pause keeps a task in its own directory and ends its guest, and with it this supervisor: nothing of it is
// left in memory. The next start goes on from there.
func (s *supervisor) pause(ctx context.Context) (any, error) {
	s.boot.Lock()
	defer s.boot.Unlock()
	g := s.current()
	if g == nil {
		vm := s.snapshot()
		if vm.State != record.StatePaused {
			return nil, s.notStarted()
		}
		return vm, nil
	}
	s.mu.Lock()
	s.pausing = true
	s.mu.Unlock()
	err := g.Pause(ctx)
	if err == nil {
		<-g.noted
		s.jobsOver()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pausing = false
	if err != nil {
		return nil, err
	}
	s.vm.State = record.StatePaused
	if err := s.save(); err != nil {
		return nil, err
	}
	// Nobody is left to say what this process would know: the next one reads it from the record.
	s.end(errPaused)
	return s.vm, nil
}

// isPausing tells whether the guest ends because it is paused.
func (s *supervisor) isPausing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pausing
}

// adopt takes over the commands that run in a guest which goes on with the memory of before, or of another.
func (s *supervisor) adopt(ctx context.Context, g *running) {
	list, err := g.Commands(ctx)
	if err != nil {
		s.log.Warn("the commands that go on cannot be listed", "error", err)
		return
	}
	s.adoptJobs(g, list)
	known := s.knownEntries()
	for _, c := range list {
		entry, ok := known[c.ID]
		if !ok || c.Result != nil && !entry.Running && !entry.Interrupted {
			continue
		}
		s.conns.Go(func() { s.follower(g, c, entry) })
	}
}

// knownEntries gives what is known of commands that may run on, by the ids that they have in the guest.
func (s *supervisor) knownEntries() map[string]record.Entry {
	known := map[string]record.Entry{}
	history, err := record.History(s.dir, true)
	if err != nil {
		s.log.Warn("the history cannot be read", "error", err)
	}
	for _, e := range append(s.snapshot().Running, history...) {
		known[commandID(e.Sequence)] = e
	}
	return known
}

// follower is the caller of a command that has lost its own: what it writes goes to the history and to
// those who follow.
func (s *supervisor) follower(g *running, c link.CommandInfo, entry record.Entry) {
	defer s.hold()()
	entry.Running, entry.Interrupted, entry.Notice, entry.Cause = true, false, "", ""
	r := &run{
		s:       s,
		g:       g,
		want:    link.Exec{Command: entry.Command, Secrets: told(c)},
		entry:   entry,
		started: entry.StartedAt,
	}
	s.enter(r)
	result, err := g.Attach(context.Background(), c.ID, tapped{r, link.KindStdout},
		tapped{r, link.KindStderr})
	result.ExitCode &= 0xff
	result.Sequence, result.Mode = entry.Sequence, g.Facts().Mode
	result.DurationMS = time.Since(r.started).Milliseconds()
	if err != nil {
		result.ExitCode = record.InterruptedExit
	} else {
		result.Cause, result.Notice = r.notice(result)
		err = g.Sync()
	}
	if err := s.finishRun(r, result, err); err != nil {
		s.log.Error("cannot note a command's end", "error", err)
	}
}

// tapped takes what a command writes that has no other caller.
type tapped struct {
	r    *run
	kind uint8
}

func (t tapped) Write(p []byte) (int, error) {
	t.r.tap(wire.Message{Kind: t.kind, Data: p})
	return len(p), nil
}

// commandID is what a command is called in the guest.
func commandID(sequence int) string { return fmt.Sprintf("c%d", sequence) }
