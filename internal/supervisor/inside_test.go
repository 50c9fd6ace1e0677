package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

func TestStates(t *testing.T) {
	o := task(t)
	if vm := o.ask(link.OpStatus, link.Empty{}); vm.State != record.StateCreated || vm.ExpiresAt == nil {
		t.Errorf("a new one is %+v", vm)
	}
	if err := o.Call(t.Context(), link.OpCreate, record.VM{}, nil); err == nil {
		t.Error("it was created twice")
	}
	if err := o.Call(t.Context(), "grease", link.Empty{}, nil); err == nil {
		t.Error("an unknown operation was answered")
	}
	for _, step := range []struct {
		op    link.Op
		state record.State
		gen   int64
	}{
		{link.OpStart, record.StateStarted, 1},
		{link.OpStart, record.StateStarted, 1},
		{link.OpStop, record.StateStopped, 1},
		{link.OpStop, record.StateStopped, 1},
		{link.OpStart, record.StateStarted, 2},
	} {
		vm := o.ask(step.op, link.Empty{})
		onDisk, err := record.Load(o.dir)
		if vm.State != step.state || vm.Generation != step.gen || err != nil || onDisk.State != step.state {
			t.Errorf("%s: %s, generation %d; on disk %s, %v", step.op, vm.State, vm.Generation,
				onDisk.State, err)
		}
	}
	o.ask(link.OpDelete, link.Empty{})
	<-o.over
	if _, err := os.Lstat(o.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a deleted one leaves its directory: %v", err)
	}
}

// Until it is complete, a VM goes with its creator.
func TestTheCreatorGoes(t *testing.T) {
	o := task(t)
	o.ask(link.OpStart, link.Empty{})
	o.Conn().Close()
	<-o.over
	if _, err := os.Lstat(o.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
}

func TestCommandsAndTheirHistory(t *testing.T) {
	o := task(t)
	result, out, err := o.run(sh("echo out; echo err >&2; exit 3"))
	if err != nil || result.ExitCode != 3 || result.Sequence != 1 || !strings.Contains(out, "out\n") {
		t.Errorf("%+v %q %v", result, out, err)
	}
	e := sh("sleep 600")
	e.TimeoutMS = 50
	if result, _, err = o.run(e); err != nil || !result.TimedOut || result.ExitCode != 124 {
		t.Errorf("a timeout: %+v %v", result, err)
	}
	if result.Cause != link.CauseTimeout {
		t.Errorf("its cause is %q", result.Cause)
	}
	found := o.history()
	if len(found) != 2 || found[0].Stdout != "out\n" || found[0].Stderr != "err\n" ||
		found[0].ExitCode != 3 || !found[1].TimedOut || found[1].Running {
		t.Errorf("%+v", found)
	}
	if vm := o.ask(link.OpStatus, link.Empty{}); vm.CommandCount != 2 || vm.LastCommand.ExitCode != 124 {
		t.Errorf("%+v", vm)
	}
}

// A command whose guest ends is interrupted; the next one starts the guest again.
func TestTheGuestEnds(t *testing.T) {
	o := task(t)
	o.ask(link.OpStart, link.Empty{})
	_, err := o.Exec(t.Context(), sh("echo; sleep 600"), link.Streams{Stdout: onWrite(o.guests.kill)})
	var far *link.Error
	if !errors.As(err, &far) || far.Code != link.CodeGuestLost {
		t.Fatalf("got %v", err)
	}
	if _, out, err := o.run(sh("echo again")); err != nil || out != "again\n" || o.guests.started() != 2 {
		t.Errorf("%q, %v after %d starts", out, err, o.guests.started())
	}
	found := o.history()
	if len(found) != 2 || !found[0].Interrupted || found[0].ExitCode != record.InterruptedExit {
		t.Errorf("%+v", found)
	}
	vm := o.ask(link.OpStatus, link.Empty{})
	if vm.LastError == nil || !strings.Contains(*vm.LastError, "the test ended it") || vm.Generation != 2 {
		t.Errorf("%+v", vm)
	}
}

// A caller who goes ends the command, and it is the caller who is named for it.
func TestTheCallerGoes(t *testing.T) {
	o := task(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := o.Exec(ctx, sh("echo; sleep 600"), link.Streams{Stdout: onWrite(cancel)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// The next command's number says that the one before is in the history; its end comes after its caller's.
	if _, _, err := o.run(sh("true")); err != nil || o.guests.started() != 1 {
		t.Errorf("%v after %d starts", err, o.guests.started())
	}
	for {
		found := o.history()
		if found[0].Running {
			continue
		}
		if !found[0].Interrupted || found[0].Cause != string(link.CauseCallerGone) {
			t.Errorf("%+v", found[0])
		}
		return
	}
}

func TestFollowers(t *testing.T) {
	o := task(t)
	o.ask(link.OpStart, link.Empty{})
	events, feed := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		_ = o.Follow(ctx, link.OpFollow, link.Empty{}, feed)
		feed.Close()
	}()
	// Nobody tells when a follower has come: commands are run until it has seen one.
	ran := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, _, err := o.run(sh("echo seen")); err != nil {
				ran <- err
				return
			}
		}
		ran <- nil
	}()
	decoder := json.NewDecoder(events)
	var kinds []link.EventKind
	var output string
	for len(kinds) == 0 || kinds[len(kinds)-1] != link.EventEnd {
		var e link.Event
		if err := decoder.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if len(kinds) > 0 || e.Kind == link.EventStart {
			kinds, output = append(kinds, e.Kind), output+string(e.Data)
		}
	}
	cancel()
	events.Close()
	<-followed
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if len(kinds) != 3 || kinds[0] != link.EventStart || kinds[1] != link.EventStdout || output != "seen\n" {
		t.Errorf("%v %q", kinds, output)
	}
}

// What ran under a supervisor that died is written down as interrupted, once, and the task goes on.
func TestAnotherSupervisorTakesOver(t *testing.T) {
	o := task(t)
	o.ask(link.OpSeeded, record.Seed{})
	if _, _, err := o.run(sh("true")); err != nil {
		t.Fatal(err)
	}
	o.end(errTerminated)
	<-o.over
	lost := record.Entry{Sequence: 2, Running: true, Command: "lost"}
	if err := record.Append(o.dir, lost, true); err != nil {
		t.Fatal(err)
	}
	next := supervised(t, o.dir)
	vm := next.ask(link.OpResume, link.Empty{})
	if vm.State != record.StateStopped || vm.CommandCount != 2 ||
		vm.LastCommand.ExitCode != record.InterruptedExit {
		t.Errorf("%+v", vm)
	}
	if err := next.Call(t.Context(), link.OpResume, link.Empty{}, nil); err == nil {
		t.Error("it was taken over twice")
	}
	if result, _, err := next.run(sh("true")); err != nil || result.Sequence != 3 {
		t.Errorf("%+v %v", result, err)
	}
	if found := next.history(); len(found) != 3 || !found[1].Interrupted || found[2].Interrupted {
		t.Errorf("%+v", found)
	}
}

func TestBackgroundCommands(t *testing.T) {
	o := task(t)
	var j record.Job
	call := func(op link.Op, params, result any) {
		t.Helper()
		if err := o.Call(t.Context(), op, params, result); err != nil {
			t.Fatalf("%s: %v", op, err)
		}
	}
	script := sh("echo one; echo two; exit 5")
	call(link.OpJobStart, link.JobStart{Kind: link.JobCommand, Name: "mine", Exec: script}, &j)
	if j.ID != "mine" || j.Kind != link.JobCommand {
		t.Errorf("it was started as %+v", j)
	}
	call(link.OpJobWait, link.JobWait{ID: "mine"}, &j)
	if j.State != link.JobExited || j.ExitCode == nil || *j.ExitCode != 5 || j.Seen[0] != 8 {
		t.Errorf("it ended as %+v", j)
	}
	read := link.JobOutput{Job: &record.Job{}}
	call(link.OpJobRead, link.JobRead{ID: "mine", Limit: 100}, &read)
	var text string
	for _, p := range read.Pieces {
		text += string(p.Data)
	}
	if text != "one\ntwo\n" {
		t.Errorf("read %q", text)
	}
	call(link.OpJobStart, link.JobStart{Kind: link.JobCommand, Name: "long", Exec: sh("sleep 600")}, &j)
	call(link.OpJobStart, link.JobStart{Kind: link.JobCommand, Name: "stop", Exec: sh("sleep 600")}, &j)
	call(link.OpJobStop, link.JobStop{ID: "stop", GraceMS: 5000}, &j)
	if j.State != link.JobStopped {
		t.Errorf("it was stopped, and is %+v", j)
	}
	o.guests.kill()
	call(link.OpJobWait, link.JobWait{ID: "long"}, &j)
	if j.State != link.JobInterrupted {
		t.Errorf("its guest ended, and it is %+v", j)
	}
	var all []record.Job
	if call(link.OpJobList, link.Empty{}, &all); len(all) != 3 {
		t.Errorf("%+v", all)
	}
}
