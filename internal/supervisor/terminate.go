package supervisor

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// errCutShort says of a command why its end is not its own: what it answered to a signal is no result.
var errCutShort = &link.Error{
	Code:    link.CodeGuestLost,
	Cause:   link.CauseStopped,
	Message: "the guest was stopped while the command ran",
}

// heed ends the supervisor when a signal asks for it, the commands before their guest. Who ends a job signals
// all of its processes at once, the supervisor among them, and means the command. Later signals change
// nothing.
func (s *supervisor) heed(ctx context.Context, asked <-chan os.Signal) {
	select {
	case <-asked:
		s.endRuns(ctx)
		s.end(errTerminated)
	case <-ctx.Done():
	}
}

// endRuns asks the commands to end, and waits for each as long as its grace lasts.
func (s *supervisor) endRuns(ctx context.Context) {
	s.mu.Lock()
	s.stopping = true
	all := slices.Collect(maps.Keys(s.runs))
	s.mu.Unlock()
	var ended sync.WaitGroup
	for _, r := range all {
		ended.Go(func() { r.askToEnd(ctx) })
	}
	ended.Wait()
}

// askToEnd asks the command to end, unless its caller has just done so, and waits for that.
func (r *run) askToEnd(ctx context.Context) {
	grace := time.Duration(r.want.GraceMS) * time.Millisecond
	if r.job != nil && grace == 0 {
		grace = stopGrace // as when it is stopped
	}
	if grace == 0 {
		return
	}
	over := time.NewTimer(grace)
	defer over.Stop()
	r.s.mu.Lock()
	told := r.told
	r.told = true
	r.s.mu.Unlock()
	if !told {
		if err := r.polite(ctx); err != nil {
			r.s.log.Warn("a command cannot be asked to end", "error", err)
			return
		}
	}
	select {
	case <-r.done:
	case <-over.C:
	case <-ctx.Done():
	}
}

// polite sends the command the signal by which it is asked to end.
func (r *run) polite(ctx context.Context) error {
	if r.job != nil {
		return r.job.signal(ctx, r.job.politely())
	}
	id := r.want.ID
	if r.s.snapshot().Kind == record.KindTask {
		id = commandID(r.entry.Sequence)
	}
	return r.g.Signal(ctx, link.Signal{ID: id, Number: int(syscall.SIGTERM)})
}

// cutShort tells whether the command was asked to end because its guest is about to.
func (r *run) cutShort() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.stopping && r.told
}
