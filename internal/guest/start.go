package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/image"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/socketpair"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"golang.org/x/sys/unix"
)

// bootLimit bounds a guest's start. It is long because an emulated guest on a busy host is slow, and
// because one that cannot start is nearly always found out earlier, by the end of its machine.
const bootLimit = 90 * time.Second

// probeLimit bounds the boot that decides whether KVM is any use.
const probeLimit = 15 * time.Second

// agentEnv is for the agent's environment, to which the kernel passes what it does not know itself. To
// interrupt a goroutine takes a signal, which nothing in the agent computes long enough to be worth, and an
// emulator must translate. With one processor, Go's runtime hands it to another thread at each system call
// that takes longer than 20 µs, which under emulation is each; with one to spare it waits for 10 ms.
// Unpacking files is three times as fast.
const agentEnv = "GODEBUG=asyncpreemptoff=1 GOMAXPROCS=2"

// Start starts a guest by whatever way is open: from a template if there is one, else by a boot, else, if
// that is allowed, with the host standing in. What ran before goes on where its files are. The context bounds
// the start, not the guest's life. The caller must [Guest.Kill] the guest at the latest when it is of no more
// use. An error is a *[link.Error].
func (l Launcher) Start(ctx context.Context, spec Spec) (*Guest, error) {
	if spec.OnHost {
		return l.startHost(ctx, spec)
	}
	_, err := os.Lstat(filepath.Join(spec.Dir, spec.ScratchFile))
	inGuest := err == nil
	limited, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	g, err := l.startVM(limited, spec)
	if err == nil {
		return g, nil
	}
	if damage := damageOf(ctx, spec, err); damage != nil {
		return nil, &link.Error{
			Code:    link.CodeUnavailable,
			Cause:   link.CauseDamaged,
			Message: fmt.Sprintf("%v (so it is no wonder that %v)", damage, err),
		}
	}
	if !spec.AllowHost || inGuest || ctx.Err() != nil || !isNoGuest(err) {
		return nil, unavailable(err)
	}
	l.Log.Warn("no guest can be had, the host stands in", "error", err)
	return l.startHost(ctx, spec)
}

// damageOf tells what is damaged of that which a guest that did not start was to be made of.
func damageOf(ctx context.Context, spec Spec, err error) error {
	var known *link.Error
	if spec.ImageSHA256 == "" || errors.As(err, &known) && known.Cause != "" || ctx.Err() != nil {
		return nil
	}
	image := environment.File{Path: spec.Image, SHA256: spec.ImageSHA256}
	var damaged *environment.DamagedError
	if errors.As(environment.Open(spec.CacheDir).VerifyFiles(ctx, image, spec.Kernel), &damaged) {
		return damaged
	}
	return nil
}

// silentError is that a machine was started and its guest never answered.
type silentError struct{ error }

func (e silentError) Unwrap() error { return e.error }

// isNoGuest tells whether this host can have no guest at all, so that the host may stand in if that is
// allowed. The list is closed: a request that cannot be met (more memory than there is, a port that is
// taken), a full disk or an environment that cannot be installed is no reason to run on the host what was
// meant for a guest.
func isNoGuest(err error) bool {
	for _, reason := range []error{vmm.ErrMissing, vmm.ErrTooOld, vmm.ErrKVM} {
		if errors.Is(err, reason) {
			return true
		}
	}
	if errors.Is(err, vmm.ErrNoMemory) || errors.Is(err, unix.ENOSPC) {
		return false
	}
	var far *link.Error
	if errors.As(err, &far) {
		switch far.Cause {
		case link.CauseNoAgent:
			return true
		case link.CauseHostMemory, link.CauseHostDisk:
			return false
		}
	}
	var silent silentError
	return errors.As(err, &silent)
}

// unavailable words the failure to start a guest.
func unavailable(err error) error {
	var far *link.Error
	if errors.As(err, &far) {
		return err
	}
	out := &link.Error{Code: link.CodeUnavailable, Message: err.Error()}
	switch {
	case errors.Is(err, vmm.ErrNoMemory):
		out.Cause = link.CauseHostMemory
	case errors.Is(err, vmm.ErrMissing), errors.Is(err, vmm.ErrTooOld):
		out.Cause = link.CauseNoVMM
	case errors.Is(err, vmm.ErrKVM):
		out.Cause = link.CauseNoKVM
	case errors.Is(err, unix.EADDRINUSE):
		out.Cause = link.CausePort
	case errors.Is(err, unix.ENOSPC):
		out.Code, out.Cause = link.CodeNoSpace, link.CauseHostDisk
	}
	var hinter vmm.Hinter
	if errors.As(err, &hinter) {
		out.Hint = hinter.Hint()
	}
	return out
}

// plan is all that is decided before a VMM is started.
type plan struct {
	Spec
	driver      vmm.Driver
	initrd      string
	accelerator vmm.Accelerator // the one chosen
	fingerprint string          // of the driver
	scratch     string          // path of the disk
	disk        string          // path that the VMM opens; another until the guest goes on; empty is scratch
	kept        string          // path of what is kept of a disk that is memory
	cmdline     string          // pyro's own arguments of the kernel command line
	memory      *vmm.Memory     // nil if it is nobody else's business
	base        string          // path of the memory that a snapshot would rest on; empty is none
	incoming    *os.File        // a template's state, or a snapshot's
	checkpoint  string          // path of a template's VMM; empty is none
	silent      bool            // the network is connected, and says nothing
	yields      bool            // nobody waits for it: it steps aside for others
	ready       func() error    // see [vmm.Spec].Ready
}

// plan decides how a guest is to be started.
func (l Launcher) plan(ctx context.Context, spec Spec) (plan, error) {
	spec.OwnDir = cmp.Or(spec.OwnDir, spec.CacheDir)
	program, err := agent()
	if err != nil {
		return plan{}, err
	}
	if err := roomFor(spec.MemMiB, spec.PromisedMiB); err != nil {
		return plan{}, err
	}
	driver, err := l.Drivers.Driver(spec.driver(), spec.OwnDir)
	if err != nil {
		return plan{}, err
	}
	if spec.Image == "" {
		if _, err := driver.Fingerprint(ctx, vmm.TCG); err != nil {
			return plan{}, err
		}
		return plan{}, fmt.Errorf("the environment is not installed: %s", spec.Missing)
	}
	if err := fits(driver, spec); err != nil {
		return plan{}, err
	}
	p := plan{Spec: spec, driver: driver}
	if driver.Abilities().Boxed {
		return p, p.box(ctx, program)
	}
	p.scratch, p.cmdline = filepath.Join(spec.Dir, spec.ScratchFile), agentEnv
	p.initrd, err = environment.Open(spec.CacheDir).Initrd(ctx, spec.Kernel, program, spec.OwnDir)
	if err != nil {
		return plan{}, err
	}
	try := func(ctx context.Context, a vmm.Accelerator) error { return l.tryBoot(ctx, p, a) }
	choice, err := driver.Accelerator(ctx, vmm.Accelerator(spec.Accelerator), try)
	if err != nil {
		return plan{}, err
	}
	p.accelerator = choice.Accelerator
	p.fingerprint, err = driver.Fingerprint(ctx, p.accelerator)
	return p, err
}

// box plans a guest whose kernel is a program of the host's.
func (p *plan) box(ctx context.Context, program environment.Agent) (err error) {
	store := environment.Open(p.CacheDir)
	if _, err = p.driver.Accelerator(ctx, "", nil); err != nil {
		return err
	}
	if p.initrd, err = store.BoxedRoot(ctx, program, p.OwnDir); err != nil {
		return err
	}
	if p.Image, err = store.Boxed(ctx, p.Image, p.OwnDir); err != nil {
		return err
	}
	p.kept = filepath.Join(p.Dir, p.ScratchFile)
	p.cmdline = fmt.Sprintf("%s %s%d %s%d", agentEnv,
		link.CmdlineDiskSize, p.DiskMiB, link.CmdlineMemory, p.MemMiB)
	return nil
}

// fits refuses what a VMM cannot do, before anything is made.
func fits(driver vmm.Driver, spec Spec) error {
	can := driver.Abilities()
	refuse := func(what string) error {
		return &link.Error{Code: link.CodeInvalid, Message: fmt.Sprintf("%s %s", driver.Name(), what)}
	}
	if spec.Network && !can.Network {
		return refuse("cannot give a guest a network")
	}
	if have := runtime.NumCPU(); spec.VCPUs > have {
		return &link.Error{
			Code: link.CodeInvalid,
			Message: fmt.Sprintf("vcpu_count is %d, and this host has %d processors: a guest with more than "+
				"those is slower, not faster", spec.VCPUs, have),
		}
	}
	if can.VCPUs > 0 && spec.VCPUs > can.VCPUs {
		return refuse(fmt.Sprintf("cannot give a guest %d processors: %d is the most", spec.VCPUs, can.VCPUs))
	}
	return nil
}

// startVM starts a guest in a virtual machine: from a template if there is one, else by a boot.
func (l Launcher) startVM(ctx context.Context, spec Spec) (*Guest, error) {
	took := phase.Start(l.Log)
	p, err := l.plan(ctx, spec)
	if err != nil {
		return nil, err
	}
	g, forgotten, err := l.startKept(ctx, p)
	if g != nil || err != nil {
		return g, err
	}
	took.Done("start planned", "accelerator", string(p.accelerator), "driver", p.driver.Name())
	if g = l.clone(ctx, p); g == nil {
		g, err = l.bring(ctx, p)
	}
	if err == nil {
		g.facts.Forgotten = forgotten
	}
	return g, err
}

// bring starts a guest and makes it ready for commands.
func (l Launcher) bring(ctx context.Context, p plan) (*Guest, error) {
	g, err := l.prepare(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := g.become(ctx, p.Spec, phase.Start(l.Log)); err != nil {
		g.Kill()
		return nil, err
	}
	go g.tend(l.Log)
	return g, nil
}

// prepare starts a guest and waits for its agent, without making it a machine of its own.
func (l Launcher) prepare(ctx context.Context, p plan) (*Guest, error) {
	took := phase.Start(l.Log)
	if p.disk == "" {
		p.disk = p.scratch
	}
	if _, err := os.Lstat(p.disk); p.disk != "" && errors.Is(err, fs.ErrNotExist) {
		if err := image.WriteScratch(p.scratch, int64(p.DiskMiB)<<20+link.SpoolSize); err != nil {
			return nil, fmt.Errorf("cannot make the VM's disk: %w", err)
		}
	}
	g := newGuest(Facts{
		Mode:        ModeGuest,
		Isolation:   p.isolation(),
		Accelerator: string(p.accelerator),
		MemMiB:      p.MemMiB,
	})
	if p.kept != "" {
		g.kept = newKept(p.kept, p.DiskMiB)
	}
	g.log = l.Log
	g.scratch, g.spoolAt = p.scratch, int64(p.DiskMiB)<<20
	g.id, g.dir, g.base, g.fingerprint = p.ID, p.Dir, p.base, p.fingerprint
	if err := g.power(ctx, p); err != nil {
		return nil, err
	}
	took.Done("VMM started", "template", p.incoming != nil)
	if m, ok := g.machine.(vmm.Machine); ok && p.yields && p.Others != nil {
		defer stepAside(m.PID(), p.Others)()
	}
	if err := g.guarded(ctx, g.greet); err != nil {
		g.Kill()
		return nil, silentError{err}
	}
	took.Done("agent answered", "kernel_ms", g.booted.KernelMS, "agent_ms", g.booted.AgentMS)
	return g, nil
}

// power starts the VMM with everything in its hands.
func (g *Guest) power(ctx context.Context, p plan) (err error) {
	spec := vmm.Spec{
		Name:        p.ID,
		Kernel:      p.Kernel.Path,
		Initrd:      p.initrd,
		VCPUs:       p.VCPUs,
		MemMiB:      p.MemMiB,
		Accelerator: p.accelerator,
		Cmdline:     p.cmdline,
		Memory:      p.memory,
		Incoming:    p.incoming,
		Checkpoint:  p.checkpoint,
		Ready:       p.ready,
		Disks:       []vmm.Disk{{Path: p.Image, ID: "base", ReadOnly: true}},
		Dir:         p.Dir,
	}
	if _, err := os.Lstat(p.kept); p.kept != "" && err == nil {
		spec.Disks = append(spec.Disks, vmm.Disk{Path: p.kept, ID: "kept", ReadOnly: true})
		spec.Cmdline += " " + link.CmdlineKept
	}
	if p.disk != "" {
		spec.Disks = append(spec.Disks, vmm.Disk{Path: p.disk, ID: "scratch", Durable: p.Durable})
	}
	var child []*os.File
	defer func() {
		for _, f := range child {
			f.Close()
		}
		if err != nil {
			g.release()
		}
	}()
	if p.Network {
		frames, vmmFrames, err := socketpair.Files("network", unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
		if err != nil {
			return err
		}
		child = append(child, vmmFrames)
		if g.network, err = g.newNetwork(p.Spec); err != nil {
			frames.Close()
			return err
		}
		spec.Network, spec.MAC = vmmFrames, g.network.Guest().MAC
		spec.Cmdline += " " + link.CmdlineNetwork
		if p.silent {
			g.mute = frames
			go io.Copy(io.Discard, frames)
		} else {
			go g.network.Serve(frames)
		}
	}
	console, writer, err := openConsole(filepath.Join(p.Dir, p.ConsoleFile))
	if err != nil {
		return err
	}
	child = append(child, writer)
	g.console, spec.Console = console, writer
	m, err := p.driver.Start(ctx, spec)
	if err != nil {
		return silentError{err}
	}
	g.machine, g.pipe = m, m.Link()
	if c, ok := m.(vmm.Confined); ok {
		g.facts.VMMConfinement = c.Confinement()
	}
	return nil
}

// tryBoot boots a guest with an accelerator, runs a command in it and throws it away.
func (l Launcher) tryBoot(ctx context.Context, p plan, a vmm.Accelerator) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	p.accelerator, p.scratch = a, filepath.Join(p.Dir, "probe.img")
	p.Network, p.Durable, p.DiskMiB = false, false, 256
	defer os.Remove(p.scratch)
	g, err := l.bring(ctx, p)
	if err != nil {
		return err
	}
	defer g.Kill()
	_, err = g.client.Exec(ctx, link.Exec{Argv: []string{"/bin/true"}}, link.Streams{})
	return err
}
