// Package qemu runs machines with QEMU: under KVM where that works, under its own emulation everywhere else.
//
// Each machine is one QEMU process that opens nothing by itself but its program files, kernel, initramfs and
// memory file: disks, sockets and console are passed to it open. It is spoken to over QMP on a socketpair,
// so that no socket lies in the file system.
package qemu

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Options are for New. The zero value works.
type Options struct {
	// Binary is QEMU's executable, a name on PATH or a path. Empty is the one for this architecture.
	Binary string
	// CacheDir is where the verdict about KVM and QEMU's version are remembered, in a directory that may be
	// missing as yet. Empty remembers nothing.
	CacheDir string
	// ProbeTimeout is how long a guest may take to boot under KVM. 0 is 10 seconds.
	ProbeTimeout time.Duration
	// KVMDevice is for tests. Empty is /dev/kvm.
	KVMDevice string
}

// Driver is the [vmm.Driver] for QEMU.
type Driver struct {
	options  Options
	platform platform
	clocks   reading // when the driver was made

	mu      sync.Mutex
	known   knowledge // the zero value is not known yet
	granted granted   // the same
	trying  string    // the CPU model that a probe is at
}

// New returns a driver. It touches nothing yet.
func New(options Options) (*Driver, error) {
	p, ok := platforms()[runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("cannot run virtual machines on %s: the architecture is not supported",
			runtime.GOARCH)
	}
	if options.Binary == "" {
		options.Binary = p.binary
	}
	if options.ProbeTimeout == 0 {
		options.ProbeTimeout = 10 * time.Second
	}
	if options.KVMDevice == "" {
		options.KVMDevice = "/dev/kvm"
	}
	return &Driver{options: options, platform: p, clocks: readClocks()}, nil
}

// Name is "qemu".
func (d *Driver) Name() string { return "qemu" }

// Abilities are all that there are.
func (d *Driver) Abilities() vmm.Abilities {
	return vmm.Abilities{Freeze: true, Snapshot: true, Network: true}
}

// Version is QEMU's version, and the path of its executable.
func (d *Driver) Version(ctx context.Context) (version, path string, err error) {
	k, err := d.know(ctx)
	if err != nil {
		return "", "", err
	}
	return k.release.Version, k.release.QEMU.Path, nil
}

// Fingerprint has QEMU's version and file, and a digest of the command line for a guest that has every
// device: machine, CPU model, devices and their settings, the kernel command line. Under KVM it has the
// host's processor and kernel, too.
func (d *Driver) Fingerprint(ctx context.Context, accelerator vmm.Accelerator) (string, error) {
	k, err := d.know(ctx)
	if err != nil {
		return "", err
	}
	if _, ok := d.platform.machine[accelerator]; !ok {
		return "", fmt.Errorf("no machine for accelerator %q", accelerator)
	}
	full := vmm.Spec{
		Accelerator: accelerator,
		Memory:      &vmm.Memory{},
		Console:     &os.File{},
		Network:     &os.File{},
		Disks:       []vmm.Disk{{ReadOnly: true}, {}},
	}
	c := build(d.platform, k.release.Abilities, d.cpu(accelerator, k), full, ends{},
		d.platform.kernelCmdline(accelerator))
	digest := sha256.Sum256([]byte(strings.Join(c.args, "\x00")))
	print := fmt.Sprintf("qemu %s %d %d %x", k.release.Version, k.release.QEMU.Size, k.release.QEMU.ModTime,
		digest[:8])
	if accelerator == vmm.KVM {
		print += " " + processor()
	}
	return print, nil
}

// cpu is the CPU model to start with: under KVM the one that a probe is trying, or that it found to boot.
func (d *Driver) cpu(accelerator vmm.Accelerator, k knowledge) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if accelerator == vmm.KVM && d.trying != "" {
		return d.trying
	}
	if accelerator == vmm.KVM && k.verdict.CPU != "" {
		return k.verdict.CPU
	}
	return d.platform.cpu[accelerator][0]
}

// check refuses a spec that cannot be meant, and fills in its defaults.
func check(spec vmm.Spec) (vmm.Spec, error) {
	if spec.VCPUs == 0 {
		spec.VCPUs = 1
	}
	if spec.MemMiB == 0 {
		spec.MemMiB = 1024
	}
	switch {
	case spec.Kernel == "" || spec.Initrd == "":
		return spec, errors.New("a machine needs a kernel and an initramfs")
	case spec.VCPUs < 0 || spec.MemMiB < 0:
		return spec, errors.New("a machine needs at least one processor and some memory")
	case spec.Accelerator != vmm.KVM && spec.Accelerator != vmm.TCG:
		return spec, fmt.Errorf("no such accelerator as %q", spec.Accelerator)
	}
	if spec.Network != nil {
		if _, err := net.ParseMAC(spec.MAC); err != nil {
			return spec, fmt.Errorf("the network device's address is not valid: %w", err)
		}
	}
	seen := map[string]bool{}
	for _, disk := range spec.Disks {
		if !validID(disk.ID) || seen[disk.ID] {
			return spec, fmt.Errorf("disk ID %q is not valid or not the only one", disk.ID)
		}
		seen[disk.ID] = true
	}
	return spec, nil
}

// validID is what QEMU takes for a name and virtio for a serial.
func validID(id string) bool {
	if id == "" || len(id) > 20 {
		return false
	}
	for i, r := range id {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-' || r == '_')) {
			return false
		}
	}
	return true
}
