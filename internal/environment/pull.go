package environment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Pull installs an environment, or brings it up to date. Interrupted at any moment it leaves the old one or
// none. A second pull of the same name waits for the first, and finds its work done.
func (s *Store) Pull(ctx context.Context, r PullRequest) (result PullResult, err error) {
	begun := time.Now()
	source, full := s.source(r.Name)
	if source == nil {
		return PullResult{}, fmt.Errorf("cannot pull %q: %w", r.Name, s.unknown(r.Name))
	}
	if len(fileName(full)) > maxFileName {
		return PullResult{}, fmt.Errorf("cannot pull %q: the name is too long to keep an environment under",
			full)
	}
	r.Name = full
	release, err := s.Hold(ctx)
	if err != nil {
		return PullResult{}, err
	}
	defer release()
	if err := s.sweepTemp(ctx); err != nil {
		return PullResult{}, fmt.Errorf("cannot clear what an interrupted pull left: %w", err)
	}
	l, err := tryLock(s.path("locks", fileName(r.Name)), unix.LOCK_EX)
	if errors.Is(err, unix.EWOULDBLOCK) {
		if r.Progress != nil {
			r.Progress(Progress{Phase: PhaseResolve, Message: "waiting for another pull of " + r.Name})
		}
		r.Force = false // the other's work is as fresh as a new pull would be
		l, err = takeLock(ctx, s.path("locks", fileName(r.Name)), unix.LOCK_EX)
	}
	if err != nil {
		return PullResult{}, fmt.Errorf("cannot pull %q: %w", r.Name, err)
	}
	defer l.unlock()
	dir, err := s.tempDir(ctx)
	if err != nil {
		return PullResult{}, fmt.Errorf("cannot pull %q: %w", r.Name, err)
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	w := &Workshop{
		Name:    r.Name,
		Request: r,
		store:   s,
		dir:     dir,
		fetch:   newFetcher(),
	}
	defer w.fetch.client.CloseIdleConnections()
	result, err = s.pull(ctx, source, w)
	if err != nil {
		return result, fmt.Errorf("cannot pull %q: %w", r.Name, NoSpace(err))
	}
	result.Duration = time.Since(begun)
	return result, nil
}

// maxFileName leaves room in a file's name for what is put before and behind an environment's.
const maxFileName = 240

func (s *Store) pull(ctx context.Context, source Source, w *Workshop) (result PullResult, err error) {
	w.Phase(PhaseResolve, "asking what "+w.Name+" is now")
	plan, err := source.Resolve(ctx, w)
	if err != nil {
		return PullResult{}, err
	}
	if plan.Close != nil {
		defer func() { err = errors.Join(err, plan.Close()) }()
	}
	old, err := s.read(w.Name)
	if errors.Is(err, ErrNewer) {
		return PullResult{}, err
	}
	repaired := false
	if err == nil && old.InputsSHA256 == plan.InputsSHA256 && !w.Request.Force {
		w.Phase(PhaseResolve, "verifying what is installed")
		if repaired, err = s.damaged(ctx, old); err != nil {
			return PullResult{}, err
		}
		if !repaired {
			return w.end(old, false, old.Reference), nil
		}
	}
	m, err := plan.Build(ctx)
	if err != nil {
		return PullResult{}, err
	}
	var damaged *DamagedError
	if err := s.verifyInitrds(ctx, m.Kernel); err != nil && !errors.As(err, &damaged) {
		return PullResult{}, err
	}
	m.Name, m.InputsSHA256, m.CreatedAt = w.Name, plan.InputsSHA256, time.Now().UTC().Truncate(time.Second)
	m.DiskBytes = diskUsage(m.Image.Path)
	if err := ctx.Err(); err != nil {
		return PullResult{}, err
	}
	if err := s.write(m, w.mode()); err != nil {
		return PullResult{}, err
	}
	m, err = s.read(w.Name)
	result = w.end(m, true, old.Reference)
	result.Repaired = repaired
	return result, err
}

func (w *Workshop) end(m Manifest, changed bool, previous string) PullResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endPhase()
	w.now.Phase = ""
	return PullResult{
		Manifest: m,
		Changed:  changed,
		Previous: previous,
		Phases:   w.phases,
	}
}
