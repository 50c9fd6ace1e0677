package supervisor

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"golang.org/x/sys/unix"
)

// TestTerminated sends a supervisor the signal that all processes of a job get. Its commands hear of it,
// once, though a caller got the same signal and passes it on; what they say is kept, and how they end is no
// result of theirs.
func TestTerminated(t *testing.T) {
	const script = "trap 'echo told; exit 0' TERM; echo begun; while :; do sleep 0.02; done"
	o := task(t)
	o.ask(link.OpStart, link.Empty{})
	var job record.Job
	background := sh(script)
	background.GraceMS = 20_000
	start := link.JobStart{Kind: link.JobCommand, Exec: background}
	if err := o.Call(t.Context(), link.OpJobStart, start, &job); err != nil {
		t.Fatal(err)
	}
	var read link.JobOutput
	for from := int64(0); read.Next < int64(len("begun\n")); from = read.Next {
		ask := link.JobRead{ID: job.ID, From: from, WaitMS: 10_000}
		if err := o.Call(t.Context(), link.OpJobRead, ask, &read); err != nil {
			t.Fatal(err)
		}
	}

	e := sh(script)
	e.ID, e.GraceMS = "call-1", 20_000
	var out bytes.Buffer
	var once sync.Once
	said := onWrite(func() {
		once.Do(func() {
			o.signals <- unix.SIGTERM
			go o.Call(t.Context(), link.OpSignal, link.Signal{ID: e.ID, Number: int(unix.SIGTERM)}, nil)
		})
	})
	_, err := o.Exec(t.Context(), e, link.Streams{Stdout: both{&out, said}})
	var far *link.Error
	if !errors.As(err, &far) || far.Code != link.CodeGuestLost || far.Cause != link.CauseStopped {
		t.Errorf("the command ended with %v", err)
	}
	if got := strings.Count(out.String(), "told\n"); got != 1 {
		t.Errorf("the command said %q", out.String())
	}
	<-o.over
	jobs, err := record.Jobs(o.dir)
	if err != nil || len(jobs) != 1 || jobs[0].State != link.JobInterrupted {
		t.Fatalf("the background commands are %+v, %v", jobs, err)
	}
	kept, err := record.OpenOutput(record.JobDir(o.dir, jobs[0].ID))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	pieces, _, err := kept.Read(0, 100)
	var told string
	for _, p := range pieces {
		if p.Stream == link.KindStdout { // A shell may say of a child that it was terminated.
			told += string(p.Data)
		}
	}
	if err != nil || told != "begun\ntold\n" {
		t.Errorf("the background command said %q, %v", pieces, err)
	}
	for _, entry := range o.history() {
		mine := entry.Sequence != jobs[0].Sequence // A background command's output is in its own place.
		if !entry.Interrupted || entry.Running || mine && entry.Stdout != "begun\ntold\n" {
			t.Errorf("the history has %+v", entry)
		}
	}
}

// both writes to a buffer and then tells.
type both struct {
	out  *bytes.Buffer
	said onWrite
}

func (b both) Write(p []byte) (int, error) {
	b.out.Write(p)
	return b.said.Write(p)
}
