package supervisor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/image"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/network"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/vmm/qemu"
	"golang.org/x/sys/unix"
)

// bootLimit bounds a guest's start. It is long because an emulated guest on a busy host is slow, and because one
// that cannot start is nearly always found out earlier, by the end of its machine.
const bootLimit = 90 * time.Second

// probeLimit bounds the boot that decides whether KVM is any use.
const probeLimit = 15 * time.Second

// agentWords are for the agent's environment, to which the kernel passes what it does not know itself. To interrupt a
// goroutine takes a signal, which nothing in the agent computes long enough to be worth, and an emulator must translate.
// With one processor, Go's runtime hands it to another thread at each system call that takes longer than 20 µs, which
// under emulation is each; with one to spare it waits for 10 ms. Unpacking files is three times as fast.
const agentWords = "GODEBUG=asyncpreemptoff=1 GOMAXPROCS=2"

//go:embed guest
var guestFiles embed.FS

// agent is the program that runs in the guest, with the digest that the build took of it: reading all of it at each
// start would keep 3 MB in the memory of every supervisor.
func agent() (environment.Agent, error) {
	const program = "guest/pyro-agent"
	sum, err := guestFiles.ReadFile(program + ".sha256")
	if errors.Is(err, fs.ErrNotExist) {
		return environment.Agent{}, &link.Error{Code: link.CodeUnavailable, Message: "this pyro was built without its guest agent",
			Hint: "build it with make build, or name a complete pyro with Options.Command"}
	}
	digest, _, _ := strings.Cut(string(sum), " ")
	return environment.Agent{SHA256: digest, Open: func() ([]byte, error) { return guestFiles.ReadFile(program) }}, err
}

// plan is all that is decided before a monitor is started.
type plan struct {
	vm          record.VM
	driver      vmm.Driver
	initrd      string
	accelerator vmm.Accelerator
	scratch     string
	words       string      // for the kernel's command line
	memory      *vmm.Memory // nil where it is nobody else's business
	incoming    *os.File    // a template's state
}

// plan decides how a VM is to be started.
func (s *supervisor) plan(ctx context.Context, vm record.VM) (plan, error) {
	if vm.Boot.Image == "" {
		return plan{}, fmt.Errorf("the environment %q is not installed", vm.Environment)
	}
	program, err := agent()
	if err != nil {
		return plan{}, err
	}
	if err := roomFor(vm.MemMiB); err != nil {
		return plan{}, err
	}
	driver, err := qemu.New(qemu.Options{CacheDir: vm.CacheDir})
	if err != nil {
		return plan{}, err
	}
	p := plan{vm: vm, driver: driver, scratch: filepath.Join(s.dir, record.ScratchFile), words: agentWords}
	k := vm.Boot.Kernel
	kernel := environment.Kernel{Path: k.Path, SHA256: k.SHA256, ModulesDir: k.ModulesDir, Modules: k.Modules}
	if p.initrd, err = environment.Open(vm.CacheDir).Initrd(ctx, kernel, program); err != nil {
		return plan{}, err
	}
	choice, err := p.driver.Accelerator(ctx, vmm.Accelerator(vm.WantAccelerator), func(ctx context.Context, a vmm.Accelerator) error {
		return s.tryBoot(ctx, p, a)
	})
	p.accelerator = choice.Accelerator
	return p, err
}

// launchVM starts a guest in a virtual machine: from a template where there is one, else cold.
func (s *supervisor) launchVM(ctx context.Context, vm record.VM) (*guest, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	p, err := s.plan(ctx, vm)
	if err != nil {
		return nil, err
	}
	if g := s.clone(ctx, p); g != nil {
		return g, nil
	}
	return s.bootPlan(ctx, p)
}

// bootPlan starts a guest and makes it ready for commands.
func (s *supervisor) bootPlan(ctx context.Context, p plan) (*guest, error) {
	g, err := s.prepare(ctx, p)
	if err != nil {
		return nil, err
	}
	identity, err := s.identity(p.vm, g)
	if err == nil {
		err = g.guarded(ctx, func(ctx context.Context) error { return g.become(ctx, identity, setUp(p.vm)) })
	}
	if err != nil {
		g.kill()
		return nil, err
	}
	return g, nil
}

// prepare starts a guest and waits for its agent, without making it a machine of its own.
func (s *supervisor) prepare(ctx context.Context, p plan) (*guest, error) {
	if _, err := os.Lstat(p.scratch); errors.Is(err, fs.ErrNotExist) {
		if err := image.WriteScratch(p.scratch, int64(p.vm.DiskMiB)<<20+link.SpoolSize); err != nil {
			return nil, fmt.Errorf("cannot make the VM's disk: %w", err)
		}
	}
	g := &guest{mode: "guest", accelerator: string(p.accelerator), mem: p.vm.MemMiB, noted: make(chan struct{})}
	if err := s.power(ctx, g, p); err != nil {
		return nil, err
	}
	if err := g.guarded(ctx, g.greet); err != nil {
		g.kill()
		return nil, err
	}
	return g, nil
}

// noHugePages keeps this process and the monitor that it starts to ordinary pages. An emulator touches memory here and
// there, and each piece of 2 MiB that the host has to clear for it is longer than what the translation of addresses
// gains: a cold start is 7 % shorter without. A kernel that does not know the call has no huge pages either.
func noHugePages() { _ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) }

// power starts the monitor with everything in its hands.
func (s *supervisor) power(ctx context.Context, g *guest, p plan) (err error) {
	spec := vmm.Spec{
		Name: p.vm.ID, Kernel: p.vm.Boot.Kernel.Path, Initrd: p.initrd, VCPUs: p.vm.VCPUCount, MemMiB: p.vm.MemMiB,
		Accelerator: p.accelerator, Cmdline: p.words, Memory: p.memory, Incoming: p.incoming,
		Disks: []vmm.Disk{
			{Path: p.vm.Boot.Image, ID: "base", ReadOnly: true},
			{Path: p.scratch, ID: "scratch", Durable: p.vm.Kind == record.KindTask},
		},
	}
	var ours []*os.File
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
		}
	}()
	pair := func(name string) (*os.File, *os.File, error) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, nil, err
		}
		mine, yours := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
		ours, theirs = append(ours, mine), append(theirs, yours)
		return mine, yours, nil
	}
	pipe, vmmLink, err := pair("link")
	if err != nil {
		return err
	}
	spec.Link, g.pipe = vmmLink, pipe
	if p.vm.NetworkEnabled {
		frames, vmmFrames, err := pair("network")
		if err != nil {
			return err
		}
		if g.network, err = s.network(p.vm); err != nil {
			return err
		}
		spec.Network, spec.MAC = vmmFrames, g.network.Guest().MAC
		spec.Cmdline += " " + link.WordNetwork
		go g.network.Serve(frames)
	}
	console, writer, err := openConsole(filepath.Join(s.dir, record.ConsoleFile))
	if err != nil {
		return err
	}
	theirs = append(theirs, writer)
	g.console, spec.Console = console, writer
	if p.accelerator == vmm.TCG {
		noHugePages()
	}
	m, err := p.driver.Start(ctx, spec)
	if err != nil {
		writer.Close()
		console.Close()
		if g.network != nil {
			g.network.Close()
		}
		return err
	}
	g.machine = m
	return nil
}

// identity is what makes a machine one of its own.
func (s *supervisor) identity(vm record.VM, g *guest) (link.Identify, error) {
	entropy := make([]byte, 64)
	if _, err := rand.Read(entropy); err != nil {
		return link.Identify{}, err
	}
	c := link.Identify{
		Hostname:   vm.ID,
		MachineID:  machineID(vm),
		Entropy:    entropy,
		Generation: 1,
	}
	if g.network != nil {
		n := g.network.Guest()
		c.Network = &link.Network{MAC: n.MAC, Address: n.Address, Gateway: n.Gateway, DNS: n.DNS, MTU: n.MTU}
	}
	return c, nil
}

// setUp is what a guest is set up with, once a boot.
func setUp(vm record.VM) link.SetUp {
	return link.SetUp{Env: vm.Boot.Env, User: vm.Boot.User, WorkDir: vm.Boot.WorkDir}
}

// machineID stays the same for a task that is started again.
func machineID(vm record.VM) string {
	sum := sha256.Sum256([]byte(vm.ID + vm.CreatedAt.String()))
	return hex.EncodeToString(sum[:16])
}

// network makes the user-mode network that ends in this process.
func (s *supervisor) network(vm record.VM) (*network.Network, error) {
	return network.New(context.Background(), network.Config{Allow: vm.Allow, Publish: vm.Publish, Log: s.decisions()})
}

// tryBoot boots a guest with an accelerator, runs a command in it and throws it away.
func (s *supervisor) tryBoot(ctx context.Context, p plan, a vmm.Accelerator) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	p.accelerator, p.scratch = a, filepath.Join(s.dir, "probe.img")
	p.vm.NetworkEnabled, p.vm.Kind, p.vm.DiskMiB = false, record.KindRun, 256
	defer os.Remove(p.scratch)
	g, err := s.bootPlan(ctx, p)
	if err != nil {
		return err
	}
	defer g.kill()
	_, err = g.client.Exec(ctx, link.Exec{Argv: []string{"/bin/true"}}, link.Streams{})
	return err
}

// roomFor refuses a guest that the host has no memory for, before it is found out in the middle of something.
func roomFor(mib int) error {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil
	}
	var free int64
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && (fields[0] == "MemAvailable:" || fields[0] == "SwapFree:") {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			free += kib
		}
	}
	if int64(mib) > free>>10 {
		return &link.Error{Code: link.CodeUnavailable,
			Message: fmt.Sprintf("the host has %d MiB of memory left, not the %d MiB that the guest is to have", free>>10, mib),
			Hint:    "ask for less with --mem-mib, or end other VMs"}
	}
	return nil
}
