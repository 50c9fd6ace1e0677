package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/record"
)

// idle gives a supervisor of a task that was last busy long ago, and how it is told to end.
func idle(t *testing.T, ttl int) (*supervisor, context.Context) {
	t.Helper()
	root := record.NewRoot(t.TempDir())
	id, lock, err := root.Create(record.KindTask, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	ctx, end := context.WithCancelCause(t.Context())
	s := &supervisor{
		root: root,
		id:   id,
		dir:  root.Path(id),
		log:  slog.New(slog.DiscardHandler),
		end:  end,
	}
	s.expiry = time.AfterFunc(time.Hour, func() {})
	t.Cleanup(func() { s.expiry.Stop() })
	past := time.Now().Add(-time.Hour)
	s.vm = record.VM{
		ID:         id,
		Kind:       record.KindTask,
		Name:       "mine",
		TTLSeconds: ttl,
		ExpiresAt:  &past,
		Complete:   true,
	}
	return s, ctx
}

// What is busy does not expire; the TTL begins anew when it is no longer.
func TestTheTTLBoundsIdleness(t *testing.T) {
	s, ctx := idle(t, 600)
	first, second := s.hold(), s.hold()
	s.checkExpiry()
	first()
	s.checkExpiry()
	if ctx.Err() != nil {
		t.Fatalf("it ended while it was busy: %v", context.Cause(ctx))
	}
	long := time.Now().Add(-time.Minute)
	s.vm.ExpiresAt = &long
	if vm := s.status(); !vm.ExpiresAt.After(time.Now()) {
		t.Errorf("a busy VM says that it expired at %v", vm.ExpiresAt)
	}
	second()
	onDisk, err := record.Load(s.dir)
	if err != nil || onDisk.ExpiresAt == nil || time.Until(*onDisk.ExpiresAt) < 9*time.Minute {
		t.Errorf("on disk it expires at %v, %v", onDisk.ExpiresAt, err)
	}
	s.vm.ExpiresAt = &long
	s.checkExpiry()
	if !errors.Is(context.Cause(ctx), errExpired) {
		t.Errorf("it lives on past its TTL: %v", context.Cause(ctx))
	}
}

func TestWithoutATTLNothingExpires(t *testing.T) {
	s, ctx := idle(t, 0)
	s.hold()()
	s.checkExpiry()
	if ctx.Err() != nil || s.vm.ExpiresAt != nil {
		t.Errorf("%v, %v", context.Cause(ctx), s.vm.ExpiresAt)
	}
}

// What expires leaves a note, what is deleted none.
func TestWhatExpiresIsRemembered(t *testing.T) {
	for _, expired := range []bool{true, false} {
		s, _ := idle(t, 25)
		if err := s.finish(true, expired); err != nil {
			t.Fatal(err)
		}
		graves, err := s.root.Graves()
		if err != nil || (len(graves) == 1) != expired {
			t.Errorf("expired %v: %+v, %v", expired, graves, err)
		}
		if expired && (graves[0].ID != s.id || graves[0].Name != "mine" || graves[0].TTLSeconds != 25) {
			t.Errorf("%+v", graves[0])
		}
	}
}
