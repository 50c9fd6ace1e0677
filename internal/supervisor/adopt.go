package supervisor

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// A guest that goes on with the memory of before, or of another, has background commands that run. The record
// of each is in the VM's directory if it was paused, else in the VM's own record, as it was when the snapshot
// was taken. Their supervisor adopts them: it becomes their caller, from the place in their output that it
// has.

// inGuestID is what a background command is called in the guest, in each of its runs.
func inGuestID(rec record.Job) string { return fmt.Sprintf("j%d.%d", rec.Sequence, rec.Restarts) }

// runningJobs are the records of the background commands that run, for a snapshot.
func (s *supervisor) runningJobs() []record.Job {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	var found []record.Job
	for _, j := range s.jobs.all {
		if rec := j.snapshot(); !rec.Ended() {
			found = append(found, rec)
		}
	}
	return found
}

// adoptJobs adopts the background commands among those that run in the guest. Those that were waited for and
// do not run any more are written down as interrupted.
func (s *supervisor) adoptJobs(g *running, list []link.CommandInfo) {
	there, runs, secrets := map[string]bool{}, map[string]bool{}, map[string][]string{}
	for _, c := range list {
		secrets[c.ID] = told(c)
		there[c.ID], runs[c.ID] = true, c.Result == nil
	}
	known := map[string]bool{}
	var wanted []record.Job
	s.jobs.mu.Lock()
	for _, j := range s.jobs.all {
		rec := j.snapshot()
		known[rec.ID] = true
		switch id := inGuestID(rec); {
		case j.waits && !there[id]:
			j.lose()
		case j.waits, runs[id]: // The latter has ended since, in what the guest was rolled back from.
			wanted = append(wanted, rec)
		}
	}
	s.jobs.mu.Unlock()
	for _, rec := range s.snapshot().Jobs {
		if !known[rec.ID] && there[inGuestID(rec)] {
			wanted = append(wanted, rec)
		}
	}
	for _, rec := range wanted {
		if err := s.adoptJob(g, rec, secrets[inGuestID(rec)]); err != nil {
			s.log.Warn("a command that goes on cannot be taken over", "command", rec.ID, "error", err)
		}
	}
}

// loseJobs writes down that the background commands which were waited for are gone: the guest was booted.
func (s *supervisor) loseJobs() {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	for _, j := range s.jobs.all {
		if j.waits {
			j.lose()
		}
	}
}

// lose writes down that the job did not go on. The caller holds the jobs' mu.
func (j *job) lose() {
	j.waits = false
	j.update(func(rec *record.Job) {
		rec.Interrupt(string(link.CauseGuestEnded), "its guest ended while it ran")
	})
}

// mostSecrets bounds what a guest may have masked of its own output, in bytes.
const mostSecrets = 256 << 10

// told are the secrets that a command was given, as its guest says: nobody else remembers them.
func told(c link.CommandInfo) []string {
	size := 0
	for _, each := range c.Secrets {
		size += len(each)
	}
	if size > mostSecrets {
		return nil
	}
	return c.Secrets
}

// adoptJob takes over a background command that runs in the guest.
func (s *supervisor) adoptJob(g *running, rec record.Job, secrets []string) error {
	var spec link.JobStart
	if err := json.Unmarshal(rec.Spec, &spec); err != nil {
		return err
	}
	spec.Exec.Secrets = secrets
	j, err := newJob(s, spec)
	if err != nil {
		return err
	}
	rec.State, rec.EndedAt, rec.ExitCode, rec.Notice, rec.Cause = j.rec.State, nil, nil, "", ""
	j.rec = rec
	j.entry = &run{
		s:       s,
		g:       g,
		job:     j,
		want:    spec.Exec,
		started: rec.StartedAt,
		entry: record.Entry{
			Running:       true,
			Sequence:      rec.Sequence,
			Command:       rec.Command,
			CWD:           link.Workspace,
			StartedAt:     rec.StartedAt,
			ExecutionMode: g.Facts().Mode,
		},
	}
	if err := j.open(); err != nil {
		return err
	}
	s.enter(j.entry)
	s.jobs.mu.Lock()
	s.jobs.all = slices.DeleteFunc(s.jobs.all, func(old *job) bool { return old.rec.ID == rec.ID })
	s.jobs.all = append(s.jobs.all, j)
	s.jobs.mu.Unlock()
	go j.goOn(g)
	return nil
}

// goOn sees an adopted command to its end. A service that fails is started again, if that is wanted.
func (j *job) goOn(g *running) {
	if j.spec.Kind == link.JobCommand {
		defer j.s.hold()()
	}
	defer j.end(nil)
	if j.spec.Service != nil {
		j.update(func(rec *record.Job) { rec.State = link.JobReady })
		j.settle.Do(func() { close(j.settled) })
	}
	attach := link.Attach{ID: inGuestID(j.rec), Stdout: j.rec.Seen[0], Stderr: j.rec.Seen[1]}
	result, failure := j.converse(j.over, g, attach.ID, func(std link.Streams) (link.ExecResult, error) {
		return g.AttachTo(j.over, attach, std)
	})
	service := j.spec.Service
	if failure == nil && service != nil && service.Restart && result.ExitCode != 0 && !j.isStopped() {
		j.update(func(rec *record.Job) { rec.State, rec.Restarts = link.JobStarting, rec.Restarts+1 })
		result, failure = j.serve(g)
	}
	j.finish(g, result, failure)
}

// suspend leaves a job as it is, for the supervisor that has its guest go on.
func (j *job) suspend() {
	j.update(func(*record.Job) {})
	j.settle.Do(func() { close(j.settled) })
	close(j.done)
	if err := j.out.Close(); err != nil {
		j.s.log.Warn("cannot close a command's output", "error", err)
	}
}

// streams gives the streams of a job's command: its output is kept, and what is typed goes to it.
func (j *job) streams() (std link.Streams, release func()) {
	std = link.Streams{Stdout: j.sink(record.StreamStdout), Stderr: j.sink(record.StreamStderr)}
	if !j.spec.Exec.Stdin {
		return std, func() {}
	}
	keys := newInput()
	j.mu.Lock()
	j.keys = keys
	j.mu.Unlock()
	std.Stdin = keys
	return std, func() { keys.Close() } // Who is about to write is told.
}

// jobsOver waits until what became of each job is written down, its guest having ended.
func (s *supervisor) jobsOver() {
	s.jobs.mu.Lock()
	all := slices.Clone(s.jobs.all)
	s.jobs.mu.Unlock()
	for _, j := range all {
		<-j.done
	}
}
