package supervisor

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// Bounds of a VM's background commands.
const (
	maxJobs       = 256 // that run
	maxEndedJobs  = 64  // that are kept for who asks for their output
	maxJobRead    = 1 << 20
	maxJobTimeout = 10 * time.Minute // of one wait for output
)

// jobs are a VM's background commands. The zero value has none.
type jobs struct {
	mu  sync.Mutex
	all []*job // in the order in which they were started
}

// handleJob answers the operations on background commands.
func (s *supervisor) handleJob(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	switch req.Op {
	case link.OpJobStart:
		return link.Answer(req, func(p link.JobStart) (any, error) { return s.startJob(ctx, p) })
	case link.OpJobList:
		return s.listJobs(), nil
	case link.OpJobRead:
		return link.Answer(req, func(p link.JobRead) (any, error) { return s.readJob(ctx, p) })
	case link.OpJobAttach:
		return link.Answer(req, func(p link.JobAttach) (any, error) { return s.attachJob(ctx, p, stream) })
	case link.OpJobWrite:
		return link.Answer(req, func(p link.JobWrite) (any, error) { return s.writeJob(ctx, p) })
	case link.OpJobSignal:
		return link.Answer(req, func(p link.Signal) (any, error) { return s.signalJob(ctx, p) })
	case link.OpJobResize:
		return link.Answer(req, func(p link.Resize) (any, error) { return s.resizeJob(ctx, p) })
	case link.OpJobWait:
		return link.Answer(req, func(p link.JobWait) (any, error) { return s.waitJob(ctx, p) })
	case link.OpJobStop:
		return link.Answer(req, func(p link.JobStop) (any, error) { return s.stopJob(ctx, p) })
	}
	return nil, link.Unsupported(req.Op)
}

// startJob starts a background command. It answers when a service is ready, or has failed.
func (s *supervisor) startJob(ctx context.Context, p link.JobStart) (any, error) {
	if s.snapshot().Kind != record.KindTask {
		return nil, &link.Error{Code: link.CodeState, Message: "only a task has background commands"}
	}
	g, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	j, err := s.addJob(p, g)
	if err != nil {
		return nil, err
	}
	go j.run(g)
	if p.Service != nil {
		select {
		case <-j.settled:
		case <-ctx.Done():
		}
	}
	return j.snapshot(), nil
}

// addJob makes room for a background command, and notes that it is about to run.
func (s *supervisor) addJob(p link.JobStart, g *running) (*job, error) {
	j, err := newJob(s, p)
	if err != nil {
		return nil, err
	}
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	if err := s.makeRoom(p.Name); err != nil {
		return nil, err
	}
	j.entry = s.begin(p.Exec, g)
	j.entry.job = j
	j.rec.Sequence, j.rec.ID = j.entry.entry.Sequence, p.Name
	if p.Name == "" {
		j.rec.ID = "cmd-" + strconv.Itoa(j.rec.Sequence)
	}
	if err := j.open(); err != nil {
		return nil, err
	}
	s.jobs.all = append(s.jobs.all, j)
	return j, nil
}

// makeRoom forgets an ended command of the same name, and the oldest ended ones if there are too many. The
// caller holds the jobs' mu.
func (s *supervisor) makeRoom(name string) error {
	live, ended := 0, 0
	for _, j := range s.jobs.all {
		if j.snapshot().Ended() {
			ended++
			continue
		}
		if live++; name != "" && j.rec.ID == name {
			return refuse(link.CodeState, "%q runs already", name)
		}
	}
	if live >= maxJobs {
		return refuse(link.CodeLimit, "%d background commands run in the task, the limit", live)
	}
	s.jobs.all = slices.DeleteFunc(s.jobs.all, func(j *job) bool {
		if !j.snapshot().Ended() || ended < maxEndedJobs && j.rec.ID != name {
			return false
		}
		ended--
		if err := record.RemoveJob(s.dir, j.rec.ID); err != nil {
			s.log.Warn("cannot remove an ended command", "error", err)
		}
		return true
	})
	return nil
}

// loadJobs takes over the background commands of a supervisor that is gone. Their guest is gone with it,
// unless it is paused.
func (s *supervisor) loadJobs(paused bool) error {
	found, err := record.Jobs(s.dir)
	if err != nil {
		return err
	}
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	for _, rec := range found {
		j := &job{
			s:       s,
			rec:     rec,
			done:    make(chan struct{}),
			settled: make(chan struct{}),
		}
		close(j.done)
		close(j.settled)
		if !rec.Ended() && paused {
			j.waits = true
		} else if !rec.Ended() {
			j.rec.Interrupt(string(link.CauseGuestEnded), "its guest ended while it ran")
			if err := record.SaveJob(s.dir, j.rec); err != nil {
				return err
			}
		}
		s.jobs.all = append(s.jobs.all, j)
	}
	return nil
}

// reviveServices starts the services again that the guest before this one had and that are to go on.
func (s *supervisor) reviveServices(g *running) {
	s.jobs.mu.Lock()
	all := slices.Clone(s.jobs.all)
	s.jobs.mu.Unlock()
	for _, old := range all {
		rec := old.snapshot()
		var p link.JobStart
		if rec.State != link.JobInterrupted || json.Unmarshal(rec.Spec, &p) != nil ||
			p.Service == nil || !p.Service.Resume {
			continue
		}
		p.Name = rec.ID
		j, err := s.addJob(p, g)
		if err != nil {
			s.log.Warn("cannot start a service again", "service", rec.ID, "error", err)
			continue
		}
		go j.run(g)
	}
}

func (s *supervisor) job(id string) (*job, error) {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	for _, j := range s.jobs.all {
		if j.rec.ID == id {
			return j, nil
		}
	}
	return nil, refuse(link.CodeNotFound, "there is no command %q in the task", id)
}

func (s *supervisor) listJobs() []record.Job {
	s.jobs.mu.Lock()
	all := slices.Clone(s.jobs.all)
	s.jobs.mu.Unlock()
	list := make([]record.Job, len(all))
	for i, j := range all {
		list[i] = j.snapshot()
	}
	return list
}

func (s *supervisor) writeJob(ctx context.Context, p link.JobWrite) (any, error) {
	j, err := s.job(p.ID)
	if err != nil {
		return nil, err
	}
	if p.WaitMS > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(p.WaitMS)*time.Millisecond)
		defer cancel()
		ctx = limited
	}
	return link.Empty{}, j.write(ctx, p.Data, p.End)
}

func (s *supervisor) signalJob(ctx context.Context, p link.Signal) (any, error) {
	j, err := s.job(p.ID)
	if err != nil {
		return nil, err
	}
	return link.Empty{}, j.signal(ctx, syscall.Signal(p.Number))
}

func (s *supervisor) resizeJob(ctx context.Context, p link.Resize) (any, error) {
	j, err := s.job(p.ID)
	if err != nil {
		return nil, err
	}
	return link.Empty{}, j.resize(ctx, p.Size)
}

func (s *supervisor) waitJob(ctx context.Context, p link.JobWait) (any, error) {
	j, err := s.job(p.ID)
	if err != nil {
		return nil, err
	}
	var limit <-chan time.Time
	if p.WaitMS > 0 {
		timer := time.NewTimer(time.Duration(p.WaitMS) * time.Millisecond)
		defer timer.Stop()
		limit = timer.C
	}
	select {
	case <-j.done:
	case <-limit:
	case <-ctx.Done():
	}
	return j.snapshot(), nil
}

func (s *supervisor) stopJob(ctx context.Context, p link.JobStop) (any, error) {
	j, err := s.job(p.ID)
	if err != nil {
		return nil, err
	}
	j.stop(ctx, time.Duration(p.GraceMS)*time.Millisecond)
	return j.snapshot(), nil
}

// settleJobs waits until what became of the background commands is written down, whose guest has ended.
func (s *supervisor) settleJobs(limit time.Duration) {
	late := time.After(limit)
	s.jobs.mu.Lock()
	all := slices.Clone(s.jobs.all)
	s.jobs.mu.Unlock()
	for _, j := range all {
		select {
		case <-j.done:
		case <-late:
			return
		}
	}
}
