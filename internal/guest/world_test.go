package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	agentcode "github.com/pyro-mcp/pyro/internal/agent"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/socketpair/socketpairtest"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"golang.org/x/sys/unix"
)

// here is a driver whose machines are the agent's own code in this process.
type here struct {
	t       *testing.T
	missing error                     // of Fingerprint
	serve   func(port net.Conn) error // what a machine does, the agent's work by default

	mu       sync.Mutex
	machines []*machine
	specs    []vmm.Spec
}

func (*here) Name() string             { return "here" }
func (*here) Abilities() vmm.Abilities { return vmm.Abilities{VCPUs: 1} }

func (d *here) Fingerprint(context.Context, vmm.Accelerator) (string, error) { return "1", d.missing }

func (d *here) Accelerator(_ context.Context, want vmm.Accelerator, _ vmm.Boot) (vmm.Choice, error) {
	if want == vmm.KVM {
		return vmm.Choice{}, vmm.ErrKVM
	}
	return vmm.Choice{Accelerator: vmm.TCG}, d.missing
}

func (d *here) Start(_ context.Context, spec vmm.Spec) (vmm.Machine, error) {
	host, port := socketpairtest.Conns(d.t)
	m := &machine{host: host, port: port, done: make(chan struct{})}
	serve := d.serve
	if serve == nil {
		upper, err := os.OpenRoot(d.t.TempDir())
		if err != nil {
			return nil, err
		}
		a, err := agentcode.Inside(upper, func() { m.end(nil) })
		if err != nil {
			return nil, err
		}
		serve = func(port net.Conn) error { return a.Serve(port) }
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.machines, d.specs = append(d.machines, m), append(d.specs, spec)
	go serve(port) // It may ask for the newest.
	return m, nil
}

// newest is the machine that was started last.
func (d *here) newest() *machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines[len(d.machines)-1]
}

type machine struct {
	once       sync.Once
	host, port net.Conn
	done       chan struct{}
	err        error
}

func (m *machine) PID() int                 { return os.Getpid() }
func (m *machine) Link() io.ReadWriteCloser { return m.host }
func (m *machine) Done() <-chan struct{}    { return m.done }

func (m *machine) Err() error {
	select {
	case <-m.done:
		return m.err
	default:
		return nil
	}
}

func (m *machine) end(err error) {
	m.once.Do(func() {
		m.err = err
		m.port.Close()
		close(m.done)
	})
}

func (m *machine) Kill() error {
	m.end(vmm.ErrKilled)
	return nil
}

// world is a launcher with a driver, and a spec for it.
func world(t *testing.T) (*here, Launcher, Spec) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.EndTree(os.Getpid(), 5*time.Second) })
	d := &here{t: t}
	l := Launcher{
		Drivers: Drivers{
			Default: "here",
			Open: map[string]func(string) (vmm.Driver, error){
				"here": func(string) (vmm.Driver, error) { return d, nil },
			},
		},
		Log: slog.New(slog.DiscardHandler),
	}
	cache := t.TempDir()
	image, kernel := filepath.Join(cache, "image"), filepath.Join(cache, "kernels", "k", "vmlinuz")
	if err := os.MkdirAll(filepath.Dir(kernel), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{image, kernel} {
		if err := os.WriteFile(name, []byte("of a test"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d, l, Spec{
		ID:          "run-1",
		MachineID:   "0123456789abcdef0123456789abcdef",
		Dir:         t.TempDir(),
		CacheDir:    cache,
		Image:       image,
		Kernel:      Kernel{Path: kernel},
		WorkDir:     t.TempDir(),
		VCPUs:       1,
		MemMiB:      128,
		DiskMiB:     256,
		Accelerator: "auto",
		ScratchFile: "scratch.img",
		ConsoleFile: "console.log",
	}
}

func sh(line string) link.Exec { return link.Exec{Argv: []string{"/bin/sh", "-c", line}} }

func TestStartAndEnd(t *testing.T) {
	d, l, spec := world(t)
	g, err := l.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	f := g.Facts()
	if f.Mode != ModeGuest || f.Isolation != IsolationVM || f.Accelerator != "tcg" || f.Warm {
		t.Errorf("the guest is %+v", f)
	}
	got := d.specs[0]
	if got.Name != spec.ID || got.MemMiB != 128 || len(got.Disks) != 2 || !got.Disks[0].ReadOnly {
		t.Errorf("the machine is made of %+v", got)
	}
	var out bytes.Buffer
	r, err := g.Exec(t.Context(), sh("echo here; exit 3"), link.Streams{Stdout: &out})
	if err != nil || r.ExitCode != 3 || out.String() != "here\n" {
		t.Errorf("%+v, %q, %v", r, out.String(), err)
	}
	g.Shutdown()
	<-g.Done()
	if g.Cause() != nil {
		t.Errorf("a guest that was shut down ended because %v", g.Cause())
	}
	if info, err := os.Stat(filepath.Join(spec.Dir, spec.ScratchFile)); err != nil ||
		info.Size() != 256<<20+link.SpoolSize {
		t.Errorf("the disk: %v, %v", info, err)
	}
}

// TestCauseOfDeath ends a machine while a command runs, and wants to be told why.
func TestCauseOfDeath(t *testing.T) {
	for name, c := range map[string]struct {
		end   error
		cause link.Cause
	}{
		"by itself":     {nil, link.CauseGuestEnded},
		"by us":         {vmm.ErrKilled, link.CauseStopped},
		"by the kernel": {vmm.ErrKilledOutside, link.CauseKilled},
	} {
		t.Run(name, func(t *testing.T) {
			d, l, spec := world(t)
			g, err := l.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Kill()
			once := onWrite(func() { d.newest().end(c.end) })
			_, err = g.Exec(t.Context(), sh("echo begun; exec sleep 60"), link.Streams{Stdout: once})
			var far *link.Error
			err = g.Lost(err)
			if !errors.As(err, &far) || far.Code != link.CodeGuestLost || far.Cause != c.cause {
				t.Errorf("%v", err)
			}
			<-g.Done()
			if cause, ok := g.Cause().(*link.Error); !ok || cause.Cause != c.cause {
				t.Errorf("the guest's cause of death is %v", g.Cause())
			}
		})
	}
}

type onWrite func()

func (f onWrite) Write(b []byte) (int, error) { f(); return len(b), nil }

// TestStartFails wants one cause for each failure, and no machine left.
func TestStartFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*here, *Spec)
		code   link.Code
		cause  link.Cause
	}{
		"more processors than there are": {
			func(_ *here, s *Spec) { s.VCPUs = 1 << 16 }, link.CodeInvalid, "",
		},
		"a network": {func(_ *here, s *Spec) { s.Network = true }, link.CodeInvalid, ""},
		"no image":  {func(_ *here, s *Spec) { s.Image, s.Missing = "", "gone" }, link.CodeUnavailable, ""},
		"memory": {
			func(_ *here, s *Spec) { s.MemMiB = 1 << 30 }, link.CodeUnavailable, link.CauseHostMemory,
		},
		"no VMM": {
			func(d *here, _ *Spec) { d.missing = vmm.ErrMissing }, link.CodeUnavailable, link.CauseNoVMM,
		},
		"no VMM for what has its files in a guest": {
			func(d *here, s *Spec) {
				d.missing, s.AllowHost = vmm.ErrMissing, true
				err := os.WriteFile(filepath.Join(s.Dir, s.ScratchFile), nil, 0o600)
				if err != nil {
					d.t.Fatal(err)
				}
			}, link.CodeUnavailable, link.CauseNoVMM,
		},
		"no KVM": {func(_ *here, s *Spec) { s.Accelerator = "kvm" }, link.CodeUnavailable, link.CauseNoKVM},
		"no directory": {
			func(_ *here, s *Spec) { s.ConsoleFile = "none/console" }, link.CodeUnavailable, "",
		},
		"a guest that ends": {
			func(d *here, _ *Spec) {
				d.serve = func(net.Conn) error { d.newest().end(vmm.ErrKilledOutside); return nil }
			}, link.CodeGuestLost, link.CauseKilled,
		},
		"a guest that speaks another protocol": {
			func(d *here, _ *Spec) {
				d.serve = func(port net.Conn) error {
					_, err := port.Write(bytes.Repeat([]byte("x"), 1<<20))
					return err
				}
			}, link.CodeUnavailable, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, l, spec := world(t)
			c.change(d, &spec)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := l.Start(ctx, spec)
			var far *link.Error
			if !errors.As(err, &far) || far.Code != c.code || far.Cause != c.cause {
				t.Errorf("%#v", err)
			}
			for _, m := range d.machines {
				select {
				case <-m.Done():
				default:
					t.Error("a machine is left")
				}
			}
		})
	}
}
