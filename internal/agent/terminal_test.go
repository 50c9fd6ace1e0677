package agent

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
)

// dialogue is a person at a terminal: it types, and waits for what is to be seen.
type dialogue struct {
	t    *testing.T
	keys io.WriteCloser

	mu      sync.Mutex
	changed sync.Cond
	seen    bytes.Buffer
	over    bool
}

func (d *dialogue) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed.Broadcast()
	return d.seen.Write(p)
}

func (d *dialogue) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	d.changed.Broadcast()
}

// expect waits until something is seen, and forgets all before its end.
func (d *dialogue) expect(text string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if i := strings.Index(d.seen.String(), text); i >= 0 {
			d.seen.Next(i + len(text))
			return
		}
		if d.over {
			d.t.Fatalf("%q was not seen: %q", text, d.seen.String())
		}
		d.changed.Wait()
	}
}

func (d *dialogue) typed(keys string) {
	d.t.Helper()
	if _, err := io.WriteString(d.keys, keys); err != nil {
		d.t.Fatal(err)
	}
}

func TestTerminal(t *testing.T) {
	g := start(t)
	in, keys := io.Pipe()
	d := &dialogue{t: t, keys: keys}
	d.changed.L = &d.mu
	defer time.AfterFunc(time.Minute, d.end).Stop() // instead of hanging
	sizes := make(chan link.Size)
	type ending struct {
		result link.ExecResult
		err    error
	}
	ended := make(chan ending, 1)
	e := link.Exec{
		ID:       "shell",
		Argv:     []string{"/bin/sh", "-i"},
		Env:      []string{"PS1=ready> ", "ENV="},
		Terminal: &link.Terminal{Size: link.Size{Rows: 30, Cols: 100}, Type: "vt100", Locale: "xx_XX.UTF-8"},
	}
	go func() {
		r, err := g.Exec(t.Context(), e, link.Streams{Stdin: in, Stdout: d, Sizes: sizes})
		d.end()
		ended <- ending{r, err}
	}()
	d.expect("ready> ")
	d.typed("stty size; tty; echo $TERM $LANG; test -t 0 && test -t 1 && test -t 2 && echo all\r")
	for _, line := range []string{"30 100\r\n", "/dev/pts/", "vt100 C.UTF-8\r\n", "all\r\n", "ready> "} {
		d.expect(line)
	}
	sizes <- link.Size{Rows: 11, Cols: 22}
	d.typed("until test \"$(stty size)\" = '11 22'; do :; done; stty size\r") // Sizes overtake keys, or not.
	d.expect("11 22\r\n")
	d.expect("ready> ")
	resize := link.Resize{ID: "shell", Size: link.Size{Rows: 5, Cols: 6}}
	if err := g.Call(t.Context(), link.OpResize, resize, nil); err != nil {
		t.Error(err)
	}
	d.typed("stty size\r")
	d.expect("5 6\r\n")
	d.expect("ready> ")
	d.typed("sh -c 'echo begun; exec sleep 60'\r")
	d.expect("\nbegun\r\n")
	d.typed("\x03")
	d.expect("^C")
	d.expect("ready> ")
	d.typed("cat\r")
	d.typed("typed\r")
	d.expect("typed\r\ntyped\r\n")
	interrupt := link.Signal{ID: "shell", Number: int(syscall.SIGINT)}
	if err := g.Call(t.Context(), link.OpSignal, interrupt, nil); err != nil {
		t.Error(err)
	}
	d.expect("ready> ")
	d.typed("kill -TERM $$; (exit 9)\r")
	d.expect("ready> ")
	keys.Close() // as Ctrl-D
	end := <-ended
	if end.err != nil || end.result.ExitCode != 9 {
		t.Errorf("%+v, %v", end.result, end.err)
	}
}

// A terminal that is hung up by the host's death, or full of what nobody reads, ends its command.
func TestTerminalsOutputIsWhole(t *testing.T) {
	g := start(t)
	var out bytes.Buffer
	e := link.Exec{
		Command:  "stty -opost; head -c 3000000 /dev/zero | tr '\\0' x; printf end; (sleep 60 &)",
		Terminal: &link.Terminal{},
	}
	r, err := g.Exec(t.Context(), e, link.Streams{Stdout: &out})
	if err != nil || r.ExitCode != 0 || out.Len() != 3000003 || !strings.HasSuffix(out.String(), "xend") {
		t.Errorf("%+v, %v, %d bytes", r, err, out.Len())
	}
	e = link.Exec{Argv: []string{"no such"}, Terminal: &link.Terminal{}}
	out.Reset()
	r, err = g.Exec(t.Context(), e, link.Streams{Stdout: &out, Stderr: &out})
	if err != nil || r.ExitCode != 127 || !strings.HasSuffix(out.String(), "sh -c LINE\r\n") {
		t.Errorf("%+v, %v, %q", r, err, out.String())
	}
	e = link.Exec{Command: "sleep 60", TimeoutMS: 100, Terminal: &link.Terminal{}}
	if r, err = g.Exec(t.Context(), e, link.Streams{}); err != nil || !r.TimedOut {
		t.Errorf("%+v, %v", r, err)
	}
	var far *link.Error
	_, err = g.Exec(t.Context(), link.Exec{Terminal: &link.Terminal{}}, link.Streams{})
	if !errors.As(err, &far) {
		t.Error(err)
	}
}
