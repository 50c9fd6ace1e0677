package supervisor

import (
	"context"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// rehearsalLimit bounds what a spare does before it waits.
const rehearsalLimit = 10 * time.Second

// spare starts the guest of a VM that is nobody's yet, and has it run a command that does nothing: under
// emulation the first takes several times as long as those that find its code translated. Its TTL bounds how
// long it then waits. Who claims it in the meantime waits for what is left of the start, and no more.
func (s *supervisor) spare(ctx context.Context, c *session) (any, error) {
	c.bound.Store(false)
	ctx = context.WithoutCancel(ctx) // Its creator does not wait.
	g, err := s.started(ctx)
	if err == nil && s.waits() {
		rehearsal := link.Exec{Command: "true", TimeoutMS: rehearsalLimit.Milliseconds()}
		_, err = g.Exec(ctx, rehearsal, link.Streams{})
	}
	if err != nil && s.waits() {
		s.end(errDeleted) // It is of no use, and nobody is there to be told.
	}
	return s.snapshot(), err
}

// waits tells whether the VM is one that was started ahead, and is nobody's yet.
func (s *supervisor) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vm.Kind == record.KindPool
}

// claim gives a spare to the caller, whose connection it is bound to from then on.
func (s *supervisor) claim(ctx context.Context, req link.Request, c *session) (any, error) {
	want, err := link.Decode[record.VM](req)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vm.Kind != record.KindPool || s.removed || ctx.Err() != nil {
		return nil, &link.Error{Code: link.CodeState, Message: "it is no spare, or no more"}
	}
	s.vm.Kind, s.vm.TTLSeconds, s.vm.Metadata, s.vm.Warnings = record.KindRun, want.TTLSeconds, want.Metadata,
		want.Warnings
	s.vm.ExpiresAt = expiry(s.vm, time.Now())
	s.expiry.Reset(0)
	c.bound.Store(true)
	return s.vm, s.save()
}
