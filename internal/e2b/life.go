package e2b

import (
	"context"
	"errors"
	"time"

	"github.com/pyro-mcp/pyro"
)

// reapEach is how often is looked for sandboxes whose time is over.
const reapEach = time.Second

// A sandbox lives for as long as it was given, whatever it does meanwhile; a task's TTL, which counts from
// its last command, is there for the case that this server does not run. So it ends a little later: a sandbox
// that is to be paused is not gone when its time is over.

// ttlMargin is how much longer a task's TTL is than what its sandbox was given, pausedFor how long a paused
// one is kept; both in seconds.
const (
	ttlMargin = 60
	pausedFor = 30 * 24 * 60 * 60
)

// ttl is a task's TTL if its sandbox was given some seconds.
func ttl(seconds int) *int {
	seconds += ttlMargin
	return &seconds
}

// pauseTask keeps a sandbox on disk until somebody asks for it. One that cannot be paused goes on, as if it
// had just been made.
func (s *Server) pauseTask(ctx context.Context, id string) error {
	kept := pausedFor
	_, err := s.engine.ExtendTask(ctx, pyro.ExtendTaskRequest{TaskID: id, TTLSeconds: &kept})
	if err != nil {
		return err
	}
	if _, err := s.engine.PauseTask(ctx, pyro.TaskRequest{TaskID: id}); err != nil {
		again := pyro.ExtendTaskRequest{TaskID: id, TTLSeconds: ttl(defaultTimeout)}
		_, undone := s.engine.ExtendTask(ctx, again)
		return errors.Join(err, undone)
	}
	s.keep(id)
	return nil
}

func (s *Server) endAfter(id string, seconds int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[id] = time.Now().Add(time.Duration(seconds) * time.Second)
}

func (s *Server) end(t pyro.Task) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end, ok := s.ends[t.TaskID]; ok {
		return end.UTC()
	}
	if t.ExpiresAt != nil {
		return *t.ExpiresAt
	}
	return t.CreatedAt.Add(time.Duration(t.TTLSeconds) * time.Second)
}

func (s *Server) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ends, id)
	delete(s.known, id)
}

// reap removes sandboxes whose time is over, until ctx ends.
func (s *Server) reap(ctx context.Context) {
	tick := time.NewTicker(reapEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, id := range s.over(now) {
				if err := s.expire(ctx, id); err != nil {
					s.options.Log.Warn("cannot end a sandbox", "sandbox", id, "error", err)
				}
			}
		}
	}
}

// expire removes a sandbox whose time is over, or pauses it if its maker wanted that.
func (s *Server) expire(ctx context.Context, id string) error {
	t, err := s.engine.StatusTask(ctx, pyro.TaskRequest{TaskID: id})
	if err == nil && t.Metadata[keyPause] != "" {
		err = s.pauseTask(ctx, id)
		s.keep(id) // It is not tried each second.
		return err
	}
	s.forget(id)
	_, err = s.engine.DeleteTask(ctx, pyro.TaskRequest{TaskID: id})
	return err
}

// keep lets a sandbox be until somebody asks for it.
func (s *Server) keep(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ends, id)
}

func (s *Server) over(now time.Time) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, end := range s.ends {
		if now.After(end) {
			ids = append(ids, id)
		}
	}
	return ids
}
