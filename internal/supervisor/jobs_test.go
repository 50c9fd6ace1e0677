package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// call asks for something about background commands.
func (o *owner) call(op link.Op, params, result any) {
	o.t.Helper()
	if err := o.Call(o.t.Context(), op, params, result); err != nil {
		o.t.Fatalf("%s: %v", op, err)
	}
}

// again is another connection to the supervisor.
func (o *owner) again() *owner {
	o.t.Helper()
	socket, _, err := link.DialDir(o.dir, record.SocketFile)
	if err != nil {
		o.t.Fatal(err)
	}
	conn, err := wire.Dial(socket, wire.Options{})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { conn.Close() })
	other := *o
	other.Client = link.NewClient(conn)
	return &other
}

// begin starts a background command.
func (o *owner) begin(name string, e link.Exec) {
	o.t.Helper()
	o.call(link.OpJobStart, link.JobStart{Kind: link.JobCommand, Name: name, Exec: e}, nil)
}

// ended waits for a background command's end.
func (o *owner) ended(name string) (j record.Job) {
	o.t.Helper()
	o.call(link.OpJobWait, link.JobWait{ID: name}, &j)
	return j
}

// read reads all that is kept of a background command's output, and from where.
func (o *owner) read(name string) (text string, from int64) {
	o.t.Helper()
	for at := int64(0); ; {
		read := link.JobOutput{Job: &record.Job{}}
		o.call(link.OpJobRead, link.JobRead{ID: name, From: at}, &read)
		if at == 0 {
			from = read.From
		}
		if len(read.Pieces) == 0 {
			return text, from
		}
		for _, p := range read.Pieces {
			text += string(p.Data)
		}
		at = read.Next
	}
}

// watcher is attached to a background command.
type watcher struct {
	*io.PipeReader
	keys *io.PipeWriter
	stop context.CancelFunc
	lost int64
	rec  record.Job
	over chan error
}

// attach attaches to a background command, from its first byte on.
func (o *owner) attach(name string) *watcher {
	ctx, stop := context.WithCancel(o.t.Context())
	in, keys := io.Pipe()
	seen, out := io.Pipe()
	w := &watcher{
		PipeReader: seen,
		keys:       keys,
		stop:       stop,
		over:       make(chan error, 1),
	}
	o.t.Cleanup(func() {
		stop()
		keys.Close()
		seen.Close()
	})
	go func() {
		err := o.AttachJob(ctx, link.JobAttach{ID: name, Stdin: true}, link.Streams{Stdin: in, Stdout: out},
			func(n int64) { w.lost += n }, &w.rec)
		out.Close()
		w.over <- err
	}()
	return w
}

// see reads until a text has come.
func (w *watcher) see(t *testing.T, text string) {
	t.Helper()
	var seen []byte
	for b := make([]byte, 1); !bytes.HasSuffix(seen, []byte(text)); seen = append(seen, b[0]) {
		if _, err := io.ReadFull(w, b); err != nil {
			t.Fatalf("%q is not in %q: %v", text, seen, err)
		}
	}
}

// Several see and type in one shell; one who goes, or comes late, changes nothing for the others.
func TestWatchersOfOneShell(t *testing.T) {
	o := task(t)
	shell := link.Exec{
		Argv:     []string{"/bin/sh", "-i"},
		Env:      []string{"PS1=ready> ", "ENV="},
		Stdin:    true,
		Terminal: &link.Terminal{},
	}
	o.call(link.OpJobStart, link.JobStart{Kind: link.JobShell, Name: "sh", Exec: shell}, nil)
	first, second := o.attach("sh"), o.attach("sh")
	first.see(t, "ready> ")
	second.see(t, "ready> ")
	io.WriteString(first.keys, "echo $((6*7))\r")
	first.see(t, "\r\n42\r\n")
	// What is typed before the prompt is echoed before it, and the answer comes behind it.
	second.see(t, "\r\n42\r\nready> ")
	first.stop()
	first.Close()
	<-first.over
	io.WriteString(second.keys, "echo $((7*7))\r")
	second.see(t, "\r\n49\r\n")
	third := o.attach("sh")
	third.see(t, "\r\n42\r\n")
	third.see(t, "\r\n49\r\nready> ")
	io.WriteString(third.keys, "exit 3\r")
	go io.Copy(io.Discard, third)
	go io.Copy(io.Discard, second)
	for _, w := range []*watcher{second, third} {
		if err := <-w.over; err != nil || w.rec.ExitCode == nil || *w.rec.ExitCode != 3 {
			t.Errorf("%v, %+v", err, w.rec)
		}
	}
}

// A command goes on when who started it is gone, connection and all, and another attaches to it.
func TestTheStarterGoes(t *testing.T) {
	o := task(t)
	o.ask(link.OpSeeded, record.Seed{})
	other := o.again()
	other.begin("job", sh("echo one; read line; echo got $line"))
	e := sh("echo one; read line; echo got $line; exit 4")
	e.Stdin = true
	other.begin("reads", e)
	other.Conn().Close()
	w := o.attach("reads")
	w.see(t, "one\n")
	io.WriteString(w.keys, "this\n")
	w.see(t, "got this\n")
	if err := <-w.over; err != nil || *w.rec.ExitCode != 4 {
		t.Errorf("%v, %+v", err, w.rec)
	}
	if j := o.ended("job"); j.State != link.JobExited {
		t.Errorf("%+v", j)
	}
}

// Who writes to a command that does not read gives up in time, and what was not taken is never read later.
func TestACommandThatDoesNotRead(t *testing.T) {
	o := task(t)
	e := sh("read line; cat | wc -c")
	e.Stdin = true
	o.begin("reads", e)
	e = sh("trap 'exec cat >/dev/null' USR1; echo begun; while :; do sleep 0.1; done")
	e.Stdin = true
	o.begin("deaf", e)
	w := o.attach("deaf")
	w.see(t, "begun\n")
	w.stop()
	const much = 128 << 10
	var refused *link.Error
	var err error
	for refused == nil { // The link and the pipe in the guest take some of it.
		err = o.Call(t.Context(), link.OpJobWrite, link.JobWrite{
			ID:     "deaf",
			Data:   make([]byte, much),
			WaitMS: 200,
		}, nil)
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
	}
	var took, of int
	if refused.Code != link.CodeState {
		t.Fatalf("writing to it: %v", err)
	}
	_, err = fmt.Sscanf(refused.Message, `"deaf" does not read its input: it took %d of %d bytes`, &took, &of)
	if err != nil || took < 0 || took >= much || of != much {
		t.Errorf("it says %q: %v", refused.Message, err)
	}
	// It is heard again once it reads.
	o.call(link.OpJobSignal, link.Signal{ID: "deaf", Number: int(syscall.SIGUSR1)}, nil)
	o.call(link.OpJobWrite, link.JobWrite{
		ID:     "deaf",
		Data:   make([]byte, much),
		End:    true,
		WaitMS: 30_000,
	}, nil)
	if j := o.ended("deaf"); *j.ExitCode != 0 {
		t.Errorf("%+v", j)
	}
	o.call(link.OpJobWrite, link.JobWrite{ID: "reads", Data: []byte("line\nfour"), End: true}, nil)
	o.ended("reads")
	if text, _ := o.read("reads"); strings.TrimSpace(text) != "4" {
		t.Errorf("it read %q bytes", text)
	}
	err = o.Call(t.Context(), link.OpJobWrite, link.JobWrite{ID: "reads", Data: []byte("more")}, nil)
	if !errors.As(err, &refused) || refused.Code != link.CodeState {
		t.Errorf("writing to what has ended: %v", err)
	}
}

// Who reads slowly holds nobody up, neither the command nor who else reads.
func TestASlowReaderSlowsOnlyItself(t *testing.T) {
	o := task(t)
	const size = 8_000_000
	o.begin("much", sh(fmt.Sprintf("head -c %d /dev/zero", size)))
	slow := o.attach("much")
	if _, err := io.ReadFull(slow, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	quick := o.attach("much")
	n, _ := io.Copy(io.Discard, quick)
	if err := <-quick.over; err != nil || n+quick.lost != size {
		t.Errorf("%d bytes and %d lost, of %d: %v", n, quick.lost, size, err)
	}
	if j := o.ended("much"); j.State != link.JobExited || j.Seen[0] != size {
		t.Errorf("%+v", j)
	}
	n, _ = io.Copy(io.Discard, slow)
	if err := <-slow.over; err != nil || n+10+slow.lost != size || slow.lost == 0 {
		t.Errorf("%d bytes and %d lost, of %d: %v", n, slow.lost, size, err)
	}
}

// What is kept outlives the supervisor. Its bound holds on disk, and what ran is said to be interrupted.
func TestOutputOutlivesTheSupervisor(t *testing.T) {
	o := task(t)
	o.ask(link.OpSeeded, record.Seed{})
	o.begin("much", sh("seq 2000000"))
	o.begin("runs", sh("echo begun; exec sleep 600"))
	w := o.attach("runs")
	w.see(t, "begun\n")
	o.ended("much")
	before, from := o.read("much")
	if from == 0 || !strings.HasSuffix(before, "\n2000000\n") || len(before) < 1<<20 {
		t.Errorf("%d bytes from %d", len(before), from)
	}
	if size := sizeOf(t, record.JobDir(o.dir, "much")); size > 5<<20 {
		t.Errorf("%d bytes on disk", size)
	}
	o.end(errTerminated)
	<-o.over
	next := supervised(t, o.dir)
	next.ask(link.OpResume, link.Empty{})
	if after, at := next.read("much"); after != before || at != from {
		t.Errorf("%d bytes from %d, not %d from %d", len(after), at, len(before), from)
	}
	again := next.attach("runs")
	again.see(t, "begun\n")
	err := <-again.over
	if err != nil || again.rec.State != link.JobInterrupted || again.rec.Notice == "" {
		t.Errorf("%v, %+v", err, again.rec)
	}
}

func sizeOf(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// A hundred commands, each with more output than is kept, take a bounded memory, of the supervisor and of
// the guest's agent together: both are in this process.
func TestMemoryIsBounded(t *testing.T) {
	const commands, each, bound = 100, 1_000_000, 64 << 20
	o := task(t)
	o.begin("first", sh("true"))
	o.ended("first")
	before := heap()
	script := fmt.Sprintf("head -c %d /dev/zero; exec sleep 600", each)
	for i := range commands {
		o.begin(fmt.Sprintf("n%d", i), sh(script))
	}
	for i := range commands {
		w := o.attach(fmt.Sprintf("n%d", i))
		var n int64
		for buffer := make([]byte, 64<<10); n+w.lost < each; {
			got, err := w.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			n += int64(got)
		}
		w.stop()
		w.Close()
		<-w.over
	}
	if after := heap(); after > before+bound {
		t.Errorf("%d MiB more than before, %d at most", (after-before)>>20, bound>>20)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestBackoff(t *testing.T) {
	var b backoff
	want := []int{1, 2, 4, 8, 16, 32, 60, 60}
	for i, seconds := range want {
		if got := b.failed(time.Second); got != time.Duration(seconds)*time.Second || b.count != i+1 {
			t.Errorf("failure %d: %v, count %d", i+1, got, b.count)
		}
	}
	if got := b.failed(steadyAfter + time.Second); got != firstBackoff || b.count != 1 {
		t.Errorf("after it ran well for long: %v, count %d", got, b.count)
	}
}

// A service that fails is started again as often as is wanted, and one that waits for that can be stopped.
func TestServicesAreStartedAgain(t *testing.T) {
	o := task(t)
	var j record.Job
	service := func(name, script string, s link.Service) {
		t.Helper()
		s.ReadyMS = 10_000
		start := link.JobStart{
			Kind:    link.JobService,
			Name:    name,
			Exec:    sh(script),
			Service: &s,
		}
		o.call(link.OpJobStart, start, &j)
	}
	service("fails", "echo again; exit 7", link.Service{Restart: true, MaxRestarts: 1})
	if j = o.ended("fails"); j.State != link.JobFailed || j.Restarts != 1 || *j.ExitCode != 7 {
		t.Errorf("%+v", j)
	}
	if text, _ := o.read("fails"); text != "again\nagain\n" {
		t.Errorf("it wrote %q", text)
	}
	service("ends", "exit 0", link.Service{Restart: true})
	if j = o.ended("ends"); j.State != link.JobExited || j.Restarts != 0 {
		t.Errorf("%+v", j)
	}
	service("once", "exit 7", link.Service{})
	if j = o.ended("once"); j.State != link.JobFailed || j.Restarts != 0 {
		t.Errorf("%+v", j)
	}
	service("waits", "exit 7", link.Service{Restart: true})
	for j.State != link.JobBackoff {
		o.call(link.OpJobWait, link.JobWait{ID: "waits", WaitMS: 5}, &j)
	}
	o.call(link.OpJobStop, link.JobStop{ID: "waits", GraceMS: 60_000}, &j)
	if j.State != link.JobStopped {
		t.Errorf("%+v", j)
	}
	start := link.JobStart{
		Kind:    link.JobService,
		Name:    "late",
		Exec:    sh("exec sleep 600"),
		Service: &link.Service{ReadyMS: 50, Ready: link.Ready{File: "/no/such"}},
	}
	o.call(link.OpJobStart, start, nil)
	if j = o.ended("late"); j.State != link.JobFailed || !strings.Contains(j.Notice, "not ready in time") {
		t.Errorf("%+v", j)
	}
}

// After its guest has ended, a service that is to be resumed runs again with the next guest; others do not.
func TestServicesAreResumed(t *testing.T) {
	o := task(t)
	for name, resume := range map[string]bool{"again": true, "not": false} {
		o.call(link.OpJobStart, link.JobStart{
			Kind:    link.JobService,
			Name:    name,
			Exec:    sh("echo up; exec sleep 600"),
			Service: &link.Service{ReadyMS: 10_000, Ready: link.Ready{Log: "up"}, Resume: resume},
		}, nil)
	}
	o.guests.kill()
	for _, name := range []string{"again", "not"} {
		if j := o.ended(name); j.State != link.JobInterrupted || j.Notice == "" {
			t.Errorf("%+v", j)
		}
	}
	if _, _, err := o.run(sh("true")); err != nil {
		t.Fatal(err)
	}
	var j record.Job
	for j.State != link.JobReady {
		o.call(link.OpJobWait, link.JobWait{ID: "again", WaitMS: 5}, &j)
	}
	if j = o.ended("not"); j.State != link.JobInterrupted {
		t.Errorf("%+v", j)
	}
}
