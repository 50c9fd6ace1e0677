package supervisor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/agent"
	"github.com/pyro-mcp/pyro/internal/guest"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/socketpair/socketpairtest"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// hereGuests has guests in this process: the agent's own code over a socket.
type hereGuests struct {
	t      *testing.T
	mu     sync.Mutex
	newest *machine
	starts int
}

// machine is what such a guest runs in.
type machine struct {
	once sync.Once
	port net.Conn // the agent's end
	done chan struct{}
}

func (m *machine) Done() <-chan struct{} { return m.done }
func (m *machine) Err() error            { return errors.New("the test ended it") }

func (m *machine) Kill() error {
	m.once.Do(func() {
		m.port.Close()
		close(m.done)
	})
	return nil
}

// Start starts a guest.
func (in *hereGuests) Start(ctx context.Context, spec guest.Spec) (*guest.Guest, error) {
	upper, err := os.OpenRoot(in.t.TempDir())
	if err != nil {
		return nil, err
	}
	host, port := socketpairtest.Conns(in.t)
	m := &machine{port: port, done: make(chan struct{})}
	a, err := agent.Inside(upper, func() { m.Kill() })
	if err != nil {
		return nil, err
	}
	go a.Serve(port)
	in.mu.Lock()
	in.newest, in.starts = m, in.starts+1
	in.mu.Unlock()
	spec.WorkDir = upper.Name()
	launcher := guest.Launcher{Log: slog.New(slog.DiscardHandler)}
	return launcher.Join(ctx, spec, m, host, guest.Facts{Mode: guest.ModeGuest, MemMiB: spec.MemMiB})
}

// Warm makes no templates.
func (*hereGuests) Warm(context.Context, guest.Spec, bool) (link.Warmed, error) {
	return link.Warmed{}, errors.New("there are no templates here")
}

// kill ends the newest guest.
func (in *hereGuests) kill() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.newest.Kill()
}

func (in *hereGuests) started() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.starts
}

// owner is a supervisor that runs, and its creator's connection.
type owner struct {
	*link.Client
	t       *testing.T
	guests  *hereGuests
	dir     string
	end     context.CancelCauseFunc
	signals chan os.Signal
	over    chan struct{} // closed when the supervisor has ended
}

// supervised starts a supervisor of a directory.
func supervised(t *testing.T, dir string) *owner {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	here, there := socketpairtest.Conns(t)
	ctx, end := context.WithCancelCause(context.Background())
	o := &owner{
		t:       t,
		guests:  &hereGuests{t: t},
		dir:     dir,
		end:     end,
		signals: make(chan os.Signal, 1),
		over:    make(chan struct{}),
	}
	go func() {
		defer close(o.over)
		if err := own(ctx, end, there, dir, slog.New(slog.DiscardHandler), o.guests,
			o.signals); err != nil {
			t.Error(err)
		}
	}()
	conn, err := wire.Dial(here, wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Client = link.NewClient(conn)
	t.Cleanup(func() {
		end(errTerminated)
		<-o.over
		conn.Close()
		here.Close()
		process.EndTree(os.Getpid(), 5*time.Second)
	})
	return o
}

// task makes a task's directory and starts its supervisor.
func task(t *testing.T) *owner {
	t.Helper()
	root := record.NewRoot(t.TempDir())
	id, lock, err := root.Create(record.KindTask, 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	o := supervised(t, root.Path(id))
	o.ask(link.OpCreate, record.VM{
		Kind:        record.KindTask,
		Environment: "test",
		TTLSeconds:  600,
		MemMiB:      64,
	})
	return o
}

// ask asks for something that is answered with the record.
func (o *owner) ask(op link.Op, params any) (vm record.VM) {
	o.t.Helper()
	if err := o.Call(o.t.Context(), op, params, &vm); err != nil {
		o.t.Fatalf("%s: %v", op, err)
	}
	return vm
}

func (o *owner) run(e link.Exec) (link.ExecResult, string, error) {
	var out bytes.Buffer
	result, err := o.Exec(o.t.Context(), e, link.Streams{Stdout: &out, Stderr: &out})
	return result, out.String(), err
}

func (o *owner) history() []record.Entry {
	o.t.Helper()
	entries, err := record.History(o.dir, true)
	for i := range entries {
		err = errors.Join(err, entries[i].Load(o.dir))
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return entries
}

// sh is a script for the simplest shell, which reads nobody's profile.
func sh(script string) link.Exec { return link.Exec{Argv: []string{"/bin/sh", "-c", script}} }

// onWrite calls for each write.
type onWrite func()

func (w onWrite) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
