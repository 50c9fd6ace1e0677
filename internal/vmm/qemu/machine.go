package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/pyro-mcp/pyro/internal/checkpoint"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// endTimeout is how long a QEMU may take to end that has closed its control connection.
const endTimeout = 2 * time.Second

// maxEvents bounds the events that nobody has fetched.
const maxEvents = 64

// machine is one QEMU process and its control connection.
type machine struct {
	process *process
	qmp     *qmpConn
	link    *os.File

	memoryFile uint64            // the inode of the guest's memory; 0 is anonymous memory
	state      checkpoint.File   // that a frozen machine's state was written to
	given      []checkpoint.File // what QEMU was started with, in order
	memMiB     int

	done   chan struct{}
	err    error // read after done
	events chan vmm.Event
	ending atomic.Pointer[shutdown] // what QEMU said about why it ends
	killed atomic.Bool
	moved  chan string // the states of a migration
}

// shutdown is the data of the event of that name.
type shutdown struct {
	Guest  bool   `json:"guest"`
	Reason string `json:"reason"`
}

// Start starts QEMU.
func (d *Driver) Start(ctx context.Context, spec vmm.Spec) (vmm.Machine, error) {
	m, err := d.start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("cannot start virtual machine %q: %w", spec.Name, err)
	}
	return m, nil
}

func (d *Driver) start(ctx context.Context, spec vmm.Spec) (*machine, error) {
	spec, err := check(spec)
	if err != nil {
		return nil, err
	}
	known, err := d.know(ctx)
	if err != nil {
		return nil, err
	}
	var opened files
	defer opened.close()
	if spec, err = resolve(spec); err != nil {
		return nil, err
	}
	if spec, err = opened.open(spec); err != nil {
		return nil, err
	}
	parent, child, err := opened.connect()
	if err != nil {
		return nil, err
	}
	if spec.Accelerator == vmm.TCG {
		noHugePages()
	}
	goesOn, err := opened.checkpoint(&spec)
	if err != nil {
		parent.close()
		return nil, err
	}
	c := build(d.platform, known.release.Abilities, d.cpu(spec.Accelerator, known), spec, child,
		d.kernelCmdline(spec))
	if goesOn != nil {
		c.goOn(*goesOn)
	}
	p, err := d.confined(ctx, known.release.QEMU.Path, c, spec)
	var given []checkpoint.File
	if err == nil && goesOn == nil {
		if given, err = c.given(spec); err != nil {
			p.kill()
		}
	}
	if err != nil {
		parent.close()
		return nil, fmt.Errorf("cannot run %s: %w", known.release.QEMU.Path, err)
	}
	opened.close()
	return newMachine(ctx, p, parent, spec, c, given)
}

// kernelCmdline is the guest's kernel command line. One that resumes has had its own.
func (d *Driver) kernelCmdline(spec vmm.Spec) string {
	cmdline := d.platform.kernelCmdline(spec.Accelerator)
	if spec.Accelerator == vmm.TCG && spec.Incoming == nil {
		cmdline += " " + d.clocks.cmdline()
	}
	if spec.Cmdline != "" {
		cmdline += " " + spec.Cmdline
	}
	return cmdline
}

// newMachine takes over a process that has just started, and returns when it runs.
func newMachine(
	ctx context.Context, p *process, parent ends, spec vmm.Spec, c command, given []checkpoint.File,
) (*machine, error) {
	m := &machine{
		process: p,
		done:    make(chan struct{}),
		events:  make(chan vmm.Event, maxEvents),
		moved:   make(chan string, 16),
		link:    parent.link,
		memMiB:  spec.MemMiB,
		given:   given,
	}
	var err error
	if m.qmp, err = newQMP(parent.qmp, m.event); err != nil {
		p.kill()
		m.link.Close()
		return nil, err
	}
	go m.watch()
	if err := m.ready(ctx, spec, c); err != nil {
		err = m.giveUp(err)
		if c.become != "" {
			err = m.blame(err)
		}
		return nil, err
	}
	return m, nil
}

// giveUp ends a machine that did not get ready, and says why: as QEMU says it if it ended by itself.
func (m *machine) giveUp(err error) error {
	if errors.Is(err, errQMPClosed) {
		select {
		case <-m.done:
		case <-time.After(endTimeout):
		}
	}
	m.Kill()
	m.link.Close()
	if cause := m.Err(); cause != nil && !errors.Is(cause, vmm.ErrKilled) {
		return cause
	}
	return err
}

// ready waits until QEMU has made the machine and, if it resumes, has loaded its state.
func (m *machine) ready(ctx context.Context, spec vmm.Spec, c command) error {
	if c.become == "" { // What has spoken with its first owner needs no beginning.
		if err := m.qmp.execute(ctx, "qmp_capabilities", nil, nil, nil); err != nil {
			return err
		}
	}
	if err := m.loadMemory(spec.Memory); err != nil {
		return err
	}
	if c.incoming != "" {
		if err := m.loadState(ctx, c.incoming); err != nil {
			return err
		}
	}
	if spec.Ready != nil {
		if err := spec.Ready(); err != nil {
			return err
		}
	}
	if c.become == "" && (c.incoming == "" || spec.Ready == nil) {
		return nil
	}
	return m.qmp.execute(ctx, "cont", nil, nil, nil)
}

// loadState has QEMU load the state of the guest's devices.
func (m *machine) loadState(ctx context.Context, incoming string) error {
	if err := m.qmp.execute(ctx, "migrate-set-capabilities", capabilities(), nil, nil); err != nil {
		return err
	}
	if err := m.qmp.execute(ctx, "migrate-incoming", map[string]any{"uri": incoming}, nil,
		nil); err != nil {
		return err
	}
	return m.migrated(ctx)
}

// capabilities are for both sides of a migration: shared memory is no part of the state, and progress is
// told in events.
func capabilities() any {
	type capability struct {
		Capability string `json:"capability"`
		State      bool   `json:"state"`
	}
	return map[string]any{"capabilities": []capability{{"x-ignore-shared", true}, {"events", true}}}
}

// watch reaps the process and says why it ended.
func (m *machine) watch() {
	<-m.process.done
	m.qmp.drain() // no more events after this
	m.err = m.reason()
	close(m.events)
	close(m.done)
}

func (m *machine) reason() error {
	ending := m.ending.Load()
	failure := m.process.failure()
	switch {
	case m.killed.Load():
		return vmm.ErrKilled
	case failure != nil:
		return failure
	case ending != nil && !ending.Guest:
		return fmt.Errorf("qemu was ended from outside (%s)", ending.Reason)
	}
	return nil
}

// PID is QEMU's process id.
func (m *machine) PID() int { return m.process.cmd.Process.Pid }

// Link is the parent's end of the guest's port.
func (m *machine) Link() io.ReadWriteCloser { return m.link }

// Done is closed when QEMU has been reaped.
func (m *machine) Done() <-chan struct{} { return m.done }

// Err says why QEMU ended.
func (m *machine) Err() error {
	select {
	case <-m.done:
		return m.err
	default:
		return nil
	}
}

// Confinement says what confines QEMU.
func (m *machine) Confinement() string { return m.process.confinement.String() }

// Dying tells whether somebody has killed QEMU.
func (m *machine) Dying() bool { return m.process.dying() }

// Kill kills QEMU and waits for its end.
func (m *machine) Kill() error {
	select {
	case <-m.process.done:
	default:
		m.killed.Store(true)
		m.process.kill()
	}
	<-m.done
	return nil
}

// Events has what QEMU reported.
func (m *machine) Events() <-chan vmm.Event { return m.events }

// event handles one event of QEMU's. It never blocks: a reader who is slow loses some.
func (m *machine) event(name string, data json.RawMessage) {
	switch name {
	case "MIGRATION":
		var state struct {
			Status string `json:"status"`
		}
		if json.Unmarshal(data, &state) == nil {
			offer(m.moved, state.Status)
		}
	case "SHUTDOWN":
		var s shutdown
		if json.Unmarshal(data, &s) == nil {
			m.ending.Store(&s)
			offer(m.events, vmm.Event{Kind: vmm.Shutdown, Detail: s.Reason})
		}
	case "GUEST_PANICKED":
		offer(m.events, vmm.Event{Kind: vmm.Panic})
	case "BLOCK_IO_ERROR":
		offer(m.events, vmm.Event{Kind: vmm.DiskError, Detail: diskError(data)})
	}
}

func offer[T any](to chan T, value T) {
	select {
	case to <- value:
	default:
	}
}

// diskError words a failure of the host's as a person would.
func diskError(data json.RawMessage) string {
	var e struct {
		Node      string `json:"node-name"`
		Operation string `json:"operation"`
		Reason    string `json:"reason"`
		NoSpace   bool   `json:"nospace"`
	}
	if json.Unmarshal(data, &e) != nil {
		return ""
	}
	if e.NoSpace {
		return fmt.Sprintf("disk %s: the host has no space left", e.Node)
	}
	return fmt.Sprintf("disk %s: %s failed: %s", e.Node, e.Operation, sentence(e.Reason))
}

// Freeze writes the state of the guest's devices; QEMU stops the guest for it. It is not stopped
// beforehand, since the state would then say so, and a clone would have to be told to go on.
func (m *machine) Freeze(ctx context.Context, state *os.File) error {
	if err := m.freeze(ctx, state); err != nil {
		return fmt.Errorf("cannot freeze the virtual machine: %w", err)
	}
	return nil
}

func (m *machine) freeze(ctx context.Context, state *os.File) error {
	// Opened anew for an offset of its own, at the beginning.
	out, err := os.OpenFile(reopen(state), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	if m.state, err = checkpoint.Identify(out); err != nil {
		return err
	}
	for _, step := range []struct {
		command   string
		arguments any
		file      *os.File
	}{
		{"migrate-set-capabilities", capabilities(), nil},
		{"getfd", map[string]any{"fdname": "state"}, out},
		{"migrate", map[string]any{"uri": "fd:state"}, nil},
	} {
		if err := m.qmp.execute(ctx, step.command, step.arguments, step.file, nil); err != nil {
			return err
		}
	}
	return m.migrated(ctx)
}

// migrated waits until a state is saved or loaded.
func (m *machine) migrated(ctx context.Context) error {
	for {
		select {
		case status := <-m.moved:
			switch status {
			case "completed":
				return nil
			case "failed", "cancelled":
				return m.migrationError(ctx)
			}
		case <-m.qmp.ended:
			return errQMPClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *machine) migrationError(ctx context.Context) error {
	var status struct {
		Reason string `json:"error-desc"`
	}
	if err := m.qmp.execute(ctx, "query-migrate", nil, nil, &status); err != nil {
		return err
	}
	if status.Reason == "" {
		return errors.New("qemu does not say why")
	}
	return errors.New(sentence(status.Reason))
}
