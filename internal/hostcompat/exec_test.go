package hostcompat

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/test/ended"
)

// TestRules wants of a command on the host what a guest's agent gives.
func TestRules(t *testing.T) {
	v := startVM(t)
	for _, c := range []struct {
		name           string
		exec           link.Exec
		stdin          string
		stdout, stderr string
		code           int
	}{
		{
			name:   "both outputs",
			exec:   link.Exec{Command: "echo out; echo err >&2; exit 3"},
			stdout: "out\n",
			stderr: "err\n",
			code:   3,
		},
		{name: "words", exec: link.Exec{Argv: []string{"printf", "<%s>", "a b", "", "'\"$x"}},
			stdout: "<a b><><'\"$x>"},
		{name: "signal", exec: link.Exec{Command: "kill -KILL $$"}, code: 137},
		{
			name:   "not found",
			exec:   link.Exec{Argv: []string{"no-such"}},
			stderr: "pyro: cannot run \"no-such\": no such file or directory\n",
			code:   127,
		},
		{
			name:   "not runnable",
			exec:   link.Exec{Argv: []string{"/usr"}},
			stderr: "pyro: cannot run \"/usr\": it is a directory\n",
			code:   126,
		},
		{
			name:   "no directory",
			exec:   link.Exec{Command: ":", WorkDir: "/no/such"},
			stderr: "pyro: cannot run \"/no/such\": no such working directory\n",
			code:   126,
		},
		{name: "no input", exec: link.Exec{Command: "cat"}},
		{
			name:   "input",
			exec:   link.Exec{Command: "cat"},
			stdin:  "given",
			stdout: "given",
		},
		{
			name:  "unread input",
			exec:  link.Exec{Command: "exit 5"},
			stdin: strings.Repeat("x", 1<<20),
			code:  5,
		},
		{
			name:   "variables",
			exec:   link.Exec{Command: "echo $FROM $MORE $LANG; cd && pwd >&2", Env: []string{"MORE=own"}},
			stdout: "image own C.UTF-8\n",
			stderr: v.settingsPlaces().Home + "\n",
		},
		{name: "directory", exec: link.Exec{Command: "pwd"}, stdout: v.settingsPlaces().Workspace + "\n"},
		{name: "directory below", exec: link.Exec{Command: "mkdir -p /workspace/a 2>/dev/null || mkdir a"}},
		{name: "session of its own", exec: link.Exec{Command: "ps -o sid= -p $$ 2>/dev/null | tr -d ' ' | " +
			"sed \"s/^$$\\$/own/\" | grep . || echo own"}, stdout: "own\n"},
		{name: "background", exec: link.Exec{Command: "sleep 60 & echo here"}, stdout: "here\n"},
		{name: "much", exec: link.Exec{Command: "head -c 3000000 /dev/zero | tr '\\0' x"},
			stdout: strings.Repeat("x", 3_000_000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.exec.TimeoutMS = 20_000
			stdout, stderr, result := v.exec(t, c.exec, c.stdin)
			if stdout != c.stdout || stderr != c.stderr || result.ExitCode != c.code || result.TimedOut {
				t.Errorf("%.200q, %.200q, %+v", stdout, stderr, result)
			}
		})
	}
}

// settingsPlaces is where commands in this guest find their own.
func (v *vm) settingsPlaces() places { return settings{Layers: v.layers, Dir: v.dir}.places() }

func TestTimeoutEndsTheTree(t *testing.T) {
	v := startVM(t)
	v.sh(t, "sleep 64 &") // of another command: it stays
	before := v.processes()
	// Daemons with sessions of their own, one of which lost all its ancestors.
	line := "(setsid sh -c 'trap \"\" TERM INT HUP; sleep 60 & sleep 60' &) ; setsid sleep 60 & trap '' " +
		"TERM; echo ready; sleep 60"
	began := time.Now()
	stdout, _, result := v.exec(t, link.Exec{Command: line, TimeoutMS: 1500}, "")
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("the answer took %v", took)
	}
	if stdout != "ready\n" || result.ExitCode != 124 || !result.TimedOut {
		t.Errorf("%q, %+v", stdout, result)
	}
	v.noMore(t, before)
	if stay := v.processes(); len(stay) < 2 || !slices.Equal(stay, intersect(before, stay)) {
		t.Errorf("of the other command's %v there are %v", before, stay)
	}
}

func intersect(a, b []int) []int {
	return slices.DeleteFunc(slices.Clone(a), func(pid int) bool { return !slices.Contains(b, pid) })
}

func TestCommandsThatFightTheirKeeper(t *testing.T) {
	v := startVM(t)
	out, _, code := v.sh(t, "setsid sleep 60 & kill -9 $PPID 2>/dev/null || { echo refused; exit 137; }; "+
		"sleep 60")
	if code != 137 {
		t.Errorf("exit status %d", code)
	}
	if out == "" {
		v.noMore(t, nil)
	}
	// The shim lives.
	if out, _, _ := v.sh(t, "kill -9 1 2>/dev/null; kill -SEGV 1 2>/dev/null; echo on"); out != "on\n" {
		t.Errorf("%q", out)
	}
}

func TestForkChainsEnd(t *testing.T) {
	v := startVM(t)
	writeFile(t, v.dir+"/workspace/chain", "sh ./chain & exit\n")
	_, _, result := v.exec(t, link.Exec{Command: "sh ./chain; sleep 60", TimeoutMS: 200}, "")
	if result.ExitCode != 124 {
		t.Errorf("%+v", result)
	}
	v.noMore(t, nil)
}

func TestACanceledCommandEnds(t *testing.T) {
	v := startVM(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready := &signalWriter{seen: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := v.Exec(ctx, link.Exec{Command: "echo; sleep 60"}, link.Streams{Stdout: ready})
		done <- err
	}()
	<-ready.seen
	pids := v.processes()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, pid := range pids {
		ended.Wait(t, pid, 10*time.Second)
	}
}

// signalWriter tells of the first write.
type signalWriter struct{ seen chan struct{} }

func (w *signalWriter) Write(p []byte) (int, error) {
	select {
	case <-w.seen:
	default:
		close(w.seen)
	}
	return len(p), nil
}

func TestProtocol(t *testing.T) {
	v := startVM(t)
	var far *link.Error
	for op, want := range map[link.Op]link.Code{"grease": link.CodeUnsupported,
		link.OpExport: link.CodeUnsupported, link.OpHold: link.CodeUnsupported,
		link.OpSetUp: link.CodeState} {
		if err := v.Call(t.Context(), op, link.Empty{}, nil); !errors.As(err, &far) || far.Code != want {
			t.Errorf("%s: %v", op, err)
		}
	}
	var hello link.Hello
	if err := v.Call(t.Context(), link.OpHello, link.Empty{}, &hello); err != nil ||
		hello.Version != link.Version {
		t.Error(hello, err)
	}
	if err := v.Call(t.Context(), link.OpSync, link.Empty{}, nil); err != nil {
		t.Error(err)
	}
	if _, err := v.Exec(t.Context(), link.Exec{}, link.Streams{}); !errors.As(err, &far) ||
		far.Code != link.CodeInvalid {
		t.Error(err)
	}
	if _, err := v.Import(t.Context(), link.Import{Destination: "/etc"},
		bytes.NewReader(nil)); !errors.As(err, &far) || far.Code != link.CodeInvalid {
		t.Error(err)
	}
	v.sh(t, "setsid sleep 60 &")
	pids := v.processes()
	if err := v.Call(t.Context(), link.OpShutdown, link.Empty{}, nil); err != nil {
		t.Error(err)
	}
	<-v.Done()
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		ended.Wait(t, pid, 10*time.Second)
	}
}

func TestKillLeavesNothing(t *testing.T) {
	v := startVM(t)
	v.sh(t, "setsid sleep 60 & (setsid sh -c 'sleep 60; sleep 60' &)")
	pids := v.processes()
	if len(pids) < 3 {
		t.Fatalf("only %v live", pids)
	}
	if err := v.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		ended.Wait(t, pid, 10*time.Second)
	}
}

// TestNothingOutlivesTheParent kills the process that owns the guest, in a way that it cannot notice.
func TestNothingOutlivesTheParent(t *testing.T) {
	parent := exec.Command("/proc/self/exe")
	parent.Env = append(os.Environ(), envRole+"="+roleParent, envDir+"="+t.TempDir())
	var complaint bytes.Buffer
	parent.Stderr = &complaint
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, &complaint)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	words := strings.Fields(line)
	if len(words) < 4 {
		t.Errorf("only %q lived", line)
	}
	for _, word := range words {
		var pid int
		if _, err := fmt.Sscan(word, &pid); err != nil {
			t.Fatal(err)
		}
		ended.Wait(t, pid, 10*time.Second)
	}
}
