package vmmtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// patience bounds each wait for a guest: it may be slow, on a busy host without KVM.
const patience = 60 * time.Second

// macAddress is that of each guest.
const macAddress = "52:54:00:12:34:56"

// rig starts machines for the checks, from a template once there is one.
type rig struct {
	config Config
	dir    string
	state  *os.File // of the template; nil boots
}

// guest is a machine, and what the test holds of it.
type guest struct {
	vmm.Machine
	t       testing.TB
	conn    io.ReadWriteCloser
	lines   *bufio.Reader
	network *os.File
	console string // the path of what it said
	scratch string // the path of its disk
}

// spec is a machine with one of each device.
func (r *rig) spec(t testing.TB) (vmm.Spec, *guest) {
	t.Helper()
	g := &guest{t: t}
	dir := t.TempDir()
	g.console, g.scratch = filepath.Join(dir, "console"), filepath.Join(dir, "scratch")
	var guestNetwork *os.File
	g.network, guestNetwork = pair(t)
	console, err := os.Create(g.console)
	must(t, err)
	t.Cleanup(func() { console.Close() })
	base := filepath.Join(dir, "base")
	must(t, os.WriteFile(base, diskWith("base", "this is the base"), 0o600))
	must(t, os.WriteFile(g.scratch, diskWith("scratch", "this is the scratch disk"), 0o600))
	disk, err := os.OpenFile(g.scratch, os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { disk.Close() })
	spec := vmm.Spec{
		Name:        "vmmtest",
		Kernel:      r.config.Guest.Kernel,
		Initrd:      r.config.Guest.Initrd,
		Accelerator: r.config.Accelerator,
		MemMiB:      256,
		Disks:       []vmm.Disk{{Path: base, ID: "base", ReadOnly: true}, {File: disk, ID: "scratch"}},
		Network:     guestNetwork,
		MAC:         macAddress,
		Console:     console,
	}
	if r.boxed() {
		r.box(t, &spec, dir)
	}
	return spec, g
}

// boot starts a machine by a boot, with shared memory if the path is given.
func (r *rig) boot(t testing.TB, memory string) *guest {
	t.Helper()
	spec, g := r.spec(t)
	if memory != "" {
		spec.Memory = &vmm.Memory{Path: memory, Shared: true}
	}
	r.start(spec, g)
	if line := g.read(); !strings.HasPrefix(line, "ready ") {
		t.Fatalf("the guest's first line is %q", line)
	}
	return g
}

// fresh starts a machine in the quickest way that the driver has.
func (r *rig) fresh(t testing.TB) *guest {
	t.Helper()
	if r.state == nil {
		return r.boot(t, "")
	}
	spec, g := r.spec(t)
	spec.Memory, spec.Incoming = &vmm.Memory{Path: r.memory()}, r.state
	r.start(spec, g)
	return g
}

// memory is the path of the template's memory.
func (r *rig) memory() string { return filepath.Join(r.dir, "memory") }

func (r *rig) start(spec vmm.Spec, g *guest) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	machine, err := r.config.Driver.Start(ctx, spec)
	must(g.t, err)
	spec.Network.Close() // as an owner would, to see the end of the guest's side
	spec.Console.Close()
	g.Machine, g.conn = machine, machine.Link()
	g.lines = bufio.NewReader(g.conn)
	g.t.Cleanup(func() { g.conn.Close() })
	g.t.Cleanup(func() { must(g.t, machine.Kill()) })
}

// ask sends a line and returns the answer.
func (g *guest) ask(line string) string {
	g.t.Helper()
	g.send(line)
	return g.read()
}

func (g *guest) send(line string) {
	g.t.Helper()
	_, err := fmt.Fprintln(g.conn, line)
	must(g.t, err)
}

func (g *guest) read() string {
	g.t.Helper()
	late := time.AfterFunc(patience, func() { g.conn.Close() })
	defer late.Stop()
	line, err := g.lines.ReadString('\n')
	if err != nil {
		said, _ := os.ReadFile(g.console)
		g.t.Fatalf("no line from the guest: %v; its console has:\n%s", err, said)
	}
	return strings.TrimSuffix(line, "\n")
}

// want asks and compares.
func (g *guest) want(line, answer string) {
	g.t.Helper()
	if got := g.ask(line); got != answer {
		g.t.Errorf("%q is answered by %q, not %q", line, got, answer)
	}
}

// ended waits for the machine's end and returns its Err.
func (g *guest) ended() error {
	g.t.Helper()
	select {
	case <-g.Done():
	case <-time.After(patience):
		g.t.Fatal("the machine does not end")
	}
	return g.Err()
}

// Boot boots the guest with a driver until it answers, and ends it.
func (g Guest) Boot(driver vmm.Driver) vmm.Boot {
	return func(ctx context.Context, accelerator vmm.Accelerator) error {
		machine, err := driver.Start(ctx, vmm.Spec{
			Name:        "vmmtest",
			Kernel:      g.Kernel,
			Initrd:      g.Initrd,
			MemMiB:      256,
			Accelerator: accelerator,
		})
		if err != nil {
			return err
		}
		defer machine.Link().Close()
		defer machine.Kill()
		stop := context.AfterFunc(ctx, func() { machine.Kill() })
		defer stop()
		if _, err := machine.Link().Read(make([]byte, 1)); err != nil {
			return fmt.Errorf("the guest does not answer: %w", err)
		}
		return nil
	}
}

// diskWith is a small disk with a first line, and a label in its second block by which the guest finds it.
func diskWith(label, line string) []byte {
	disk := make([]byte, 1<<20)
	copy(disk, line+"\n")
	copy(disk[512:], label+"\n")
	return disk
}

func pair(t testing.TB) (parent, child *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	parent, child = os.NewFile(uintptr(fds[0]), "parent"), os.NewFile(uintptr(fds[1]), "child")
	t.Cleanup(func() { parent.Close(); child.Close() })
	return parent, child
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
