package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pyro-mcp/pyro/internal/link"
)

// begin runs a command whose first output is awaited, and gives where its caller's fate will be told.
func (g *guest) begin(e link.Exec, stdin io.Reader) <-chan error {
	g.t.Helper()
	wrote := make(chan struct{}, 1)
	ended := make(chan error, 1)
	client := g.Client
	std := link.Streams{Stdin: stdin, Stdout: onWrite(func() {
		select {
		case wrote <- struct{}{}:
		default:
		}
	})}
	go func() {
		_, err := client.Exec(context.Background(), e, std)
		ended <- err
	}()
	select {
	case <-wrote:
	case err := <-ended:
		g.t.Fatalf("%s ended at once: %v", e.Line(), err)
	}
	return ended
}

// only gives the one command that is known.
func (g *guest) only() link.CommandInfo {
	g.t.Helper()
	var list link.CommandList
	if err := g.Call(g.t.Context(), link.OpCommands, link.Empty{}, &list); err != nil {
		g.t.Fatal(err)
	}
	if len(list.Commands) != 1 {
		g.t.Fatalf("%d commands are known: %+v", len(list.Commands), list.Commands)
	}
	return list.Commands[0]
}

func wantCode(t *testing.T, err error, want link.Code) {
	t.Helper()
	var e *link.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Errorf("%v, not %s", err, want)
	}
}

// A command goes on when its connection is replaced, and its next caller misses nothing.
func TestACommandOutlivesItsConnection(t *testing.T) {
	g := start(t)
	in, w := io.Pipe()
	defer w.Close()
	first := g.begin(link.Exec{ID: "job",
		Command: "echo one; read x; echo got $x; cat; echo err >&2; exit 7"}, in)
	g.connect()
	wantCode(t, <-first, link.CodeGuestLost)
	if info := g.only(); info.ID != "job" || info.Attached || info.Result != nil || info.Stdout != 4 {
		t.Errorf("%+v", info)
	}
	var stdout, stderr bytes.Buffer
	var at link.Attached
	std := link.Streams{Stdin: strings.NewReader("hello\nmore\n"), Stdout: &stdout, Stderr: &stderr}
	r, err := g.AttachTo(t.Context(), link.Attach{ID: "job", Stdout: 4}, std,
		func(a link.Attached) { at = a })
	if err != nil || r.ExitCode != 7 || stdout.String() != "got hello\nmore\n" || stderr.String() != "err\n" {
		t.Errorf("%+v, %v, %q, %q", r, err, stdout.String(), stderr.String())
	}
	if diff := cmp.Diff(link.Attached{Stdout: 4}, at); diff != "" {
		t.Error(diff)
	}
	// Its result, and what it wrote, can be asked for again.
	stdout.Reset()
	r, err = g.AttachTo(t.Context(), link.Attach{ID: "job"}, link.Streams{Stdout: &stdout}, nil)
	if err != nil || r.ExitCode != 7 || stdout.String() != "one\ngot hello\nmore\n" {
		t.Errorf("%+v, %v, %q", r, err, stdout.String())
	}
	if info := g.only(); info.Result == nil || info.Result.ExitCode != 7 {
		t.Errorf("%+v", info)
	}
	_, err = g.Exec(t.Context(), link.Exec{ID: "job", Command: "true"}, link.Streams{})
	wantCode(t, err, link.CodeState)
	_, err = g.Exec(t.Context(), link.Exec{ID: "no/id", Command: "true"}, link.Streams{})
	wantCode(t, err, link.CodeInvalid)
}

// One without an id, or whose caller closes the stream, ends.
func TestACommandEndsWithItsCaller(t *testing.T) {
	g := start(t)
	var all families // The end of one command is not that of another.
	g.group = all.make
	lost := g.begin(link.Exec{Command: "echo; sleep 60"}, nil)
	g.connect()
	<-lost
	ctx, cancel := context.WithCancel(t.Context())
	_, err := g.Exec(ctx, link.Exec{ID: "mine", Command: "echo; sleep 60"},
		link.Streams{Stdout: onWrite(cancel)})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	r, err := g.AttachTo(t.Context(), link.Attach{ID: "mine"}, link.Streams{}, nil)
	if err == nil {
		t.Errorf("a command whose caller went away ended with %+v", r)
	}
}

// Output that nobody takes is kept up to a bound, and what was lost is known.
func TestDetachedOutputIsBounded(t *testing.T) {
	g := start(t)
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("echo; read x < %s; head -c 5000000 /dev/zero | tr '\\0' x; echo end", gate)
	lost := g.begin(link.Exec{ID: "noisy", Command: line}, nil)
	g.connect()
	<-lost
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	const total = 1 + 5000000 + 4
	for g.only().Result == nil {
		if _, err := g.Exec(t.Context(), link.Exec{Command: "true"}, link.Streams{}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	var at link.Attached
	r, err := g.AttachTo(t.Context(), link.Attach{ID: "noisy"}, link.Streams{Stdout: &out},
		func(a link.Attached) { at = a })
	if err != nil || r.ExitCode != 0 || !strings.HasSuffix(out.String(), "xxend\n") {
		t.Errorf("%+v, %v", r, err)
	}
	info := g.only()
	if at.Stdout+int64(out.Len()) != total || info.Stdout != total || info.Lost != at.Stdout ||
		out.Len() != 256<<10 {
		t.Errorf("%d bytes from %d on, %+v", out.Len(), at.Stdout, info)
	}
}

func TestSignals(t *testing.T) {
	g := start(t)
	ended := g.begin(link.Exec{ID: "deaf",
		Command: "trap 'echo heard' INT; echo; while :; do sleep 0.01; done"}, nil)
	wantCode(t, g.Call(t.Context(), link.OpResize, link.Resize{ID: "deaf"}, nil), link.CodeState)
	_, err := g.AttachTo(t.Context(), link.Attach{ID: "deaf"}, link.Streams{}, nil)
	wantCode(t, err, link.CodeState) // it has a caller
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := g.Call(t.Context(), link.OpSignal, link.Signal{ID: "deaf", Number: int(s)},
			nil); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGINT)
	for g.only().Stdout < int64(len("\nheard\n")) {
		if _, err := g.Exec(t.Context(), link.Exec{Command: "true"}, link.Streams{}); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGKILL)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if info := g.only(); info.Result == nil || info.Result.ExitCode != 137 {
		t.Errorf("%+v", info)
	}
	err = g.Call(t.Context(), link.OpSignal, link.Signal{ID: "deaf", Number: 1}, nil)
	wantCode(t, err, link.CodeState)
}
