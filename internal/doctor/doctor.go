// Package doctor finds out whether this host is able to run pyro, by doing what pyro does, and says what to
// fix.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"golang.org/x/sys/unix"
)

// Options says what to look at, and how to try.
type Options struct {
	CacheDir, StateDir string
	// Drivers is the table of VMMs, of which the default one is looked at.
	Drivers vmm.Drivers
	// Accelerator is the one that VMs of this user ask for.
	Accelerator string
	// Try runs a command in a guest made from an installed environment, and tells the accelerator.
	Try func(ctx context.Context, environment string) (accelerator string, err error)
	// TryGVisor runs a command in a guest in gVisor.
	TryGVisor func(ctx context.Context, environment string) error
	// GVisor is that this is how guests of this user run.
	GVisor bool
	// Verify has every installed environment read and compared with what was installed.
	Verify bool
	// Confinement lists what host_compat gives on this host.
	Confinement []Finding
}

// VMM is what is asked of the default driver. Each driver that is to be the default one has these methods.
type VMM interface {
	// Version is the VMM's version, and the path of its executable. It fails if none can be used.
	Version(ctx context.Context) (version, path string, err error)
	// Confinement tries what the VMM can be confined by.
	Confinement(ctx context.Context) (confine.Report, error)
	// Reconsider forgets that KVM was of no use, so that the next guest tries it again.
	Reconsider(ctx context.Context) error
	// Accelerator is [vmm.Driver]'s.
	Accelerator(ctx context.Context, want vmm.Accelerator, boot vmm.Boot) (vmm.Choice, error)
}

// Report is what was found. It has the contract's fields.
type Report struct {
	Platform         Platform     `json:"platform"`
	RuntimeOK        bool         `json:"runtime_ok"`
	Accelerator      string       `json:"accelerator"`
	KVM              vmm.Verdict  `json:"kvm"`
	Capabilities     Capabilities `json:"capabilities"`
	Networking       Networking   `json:"networking"`
	EnvironmentCache Cache        `json:"environment_cache"`
	Issues           []Issue      `json:"issues"`
}

// Platform is the host.
type Platform struct {
	OS           string `json:"os"`
	Distribution string `json:"distribution"`
	Kernel       string `json:"kernel"`
	Architecture string `json:"architecture"`
	CPUs         int    `json:"cpus"`
	MemoryMiB    int64  `json:"memory_mib"`
	VMM          string `json:"vmm"`
}

// Capabilities is what was proven: "yes", "no", or "unknown" if it could not be tried.
type Capabilities struct {
	VMBoot    string `json:"vm_boot"`
	GuestExec string `json:"guest_exec"`
	TrialMS   int64  `json:"trial_ms"`
	// GVisor is whether guests in gVisor work, and GVisorDetail why they do not.
	GVisor       string    `json:"gvisor"`
	GVisorDetail string    `json:"gvisor_detail,omitempty"`
	HostCompat   []Finding `json:"host_compat"`
	// VMMConfinement is what the VMM of each guest is confined by.
	VMMConfinement []Finding `json:"vmm_confinement"`
	Environment    string    `json:"environment"`
}

// Finding is one thing that holds or does not.
type Finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// Networking says what a guest's network rests on.
type Networking struct {
	UserMode bool   `json:"user_mode"`
	Detail   string `json:"detail"`
}

// Cache is what is kept on disk, in bytes.
type Cache struct {
	Path           string   `json:"path"`
	Bytes          int64    `json:"bytes"`
	StatePath      string   `json:"state_path"`
	StateBytes     int64    `json:"state_bytes"`
	FreeBytes      int64    `json:"free_bytes"`
	StateFreeBytes int64    `json:"state_free_bytes"`
	Installed      []string `json:"installed"`
	Damaged        []string `json:"damaged,omitempty"` // of those, as far as they were verified
}

// Issue is a problem and its remedy. A fatal one keeps pyro run from working.
type Issue struct {
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
	Fatal   bool   `json:"fatal"`
}

// lowSpace is how much room an environment and a few VMs want, in bytes.
const lowSpace = 2 << 30

// Run looks at the host. It fails only if it cannot look.
func Run(ctx context.Context, o Options) (Report, error) {
	r := Report{Issues: []Issue{}, Platform: platform()}
	r.Capabilities = Capabilities{
		VMBoot:     "unknown",
		GuestExec:  "unknown",
		GVisor:     "unknown",
		HostCompat: o.Confinement,
	}
	// The frames end in our own process: whoever may start a guest may give it a network.
	r.Networking = Networking{UserMode: true,
		Detail: "user-mode, in the VM's supervisor; no TAP, no privileges"}
	r.EnvironmentCache = cache(o, &r)
	if o.Verify {
		r.verify(ctx, o)
	}
	r.tryGVisor(ctx, o)
	driver, err := openVMM(o)
	if err != nil {
		return r, err
	}
	if r.findVMM(ctx, driver) {
		r.confinement(ctx, driver)
		if err := driver.Reconsider(ctx); err != nil {
			r.addError("KVM cannot be tried again", err)
		}
		r.try(ctx, o)
		r.verdict(ctx, o, driver)
	}
	works := r.Capabilities.GuestExec
	if o.GVisor {
		works = r.Capabilities.GVisor
	}
	r.RuntimeOK = works == "yes" && len(r.EnvironmentCache.Damaged) == 0
	return r, nil
}

// openVMM opens the default driver.
func openVMM(o Options) (VMM, error) {
	driver, err := o.Drivers.Driver("", environment.OwnDir(o.CacheDir, o.StateDir))
	if err != nil {
		return nil, err
	}
	known, ok := driver.(VMM)
	if !ok {
		return nil, fmt.Errorf("cannot look at the vmm %q: it does not say enough of itself", driver.Name())
	}
	return known, nil
}

func (r *Report) add(fatal bool, problem, remedy string) {
	r.Issues = append(r.Issues, Issue{Problem: problem, Remedy: remedy, Fatal: fatal})
}

// findVMM finds the VMM, without which nothing else can be tried.
func (r *Report) findVMM(ctx context.Context, driver VMM) bool {
	version, path, err := driver.Version(ctx)
	if err != nil {
		r.addError("no virtual machine can be had", err)
		r.Issues[len(r.Issues)-1].Remedy += r.faster()
		r.Capabilities.VMBoot, r.Capabilities.GuestExec = "no", "no"
		r.KVM.Reason = "not tried without a VMM"
		return false
	}
	r.Platform.VMM = fmt.Sprintf("QEMU %s (%s)", version, path)
	return true
}

// confinement tells what the VMM is confined by, by trying it.
func (r *Report) confinement(ctx context.Context, driver VMM) {
	lines, err := driver.Confinement(ctx)
	if err != nil {
		r.addError("the VMM cannot be confined", err)
	}
	r.Capabilities.VMMConfinement = []Finding{}
	for _, line := range lines {
		r.Capabilities.VMMConfinement = append(r.Capabilities.VMMConfinement,
			Finding{Name: line.Name, OK: line.Confined, Detail: line.Detail})
	}
}

func (r *Report) addError(what string, err error) {
	remedy := "see the message"
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter) && hinter.Hint() != "" {
		remedy = hinter.Hint()
	}
	r.add(true, fmt.Sprintf("%s: %v", what, err), remedy)
}

// try runs a command in a guest: the only proof there is.
func (r *Report) try(ctx context.Context, o Options) {
	if len(r.EnvironmentCache.Installed) == 0 {
		r.add(true, "no environment is installed, so that no guest could be tried",
			"install one with pyro env pull debian:12, then ask again")
		return
	}
	r.Capabilities.Environment = r.EnvironmentCache.Installed[0]
	start := time.Now()
	accelerator, err := o.Try(ctx, r.Capabilities.Environment)
	r.Capabilities.TrialMS = time.Since(start).Milliseconds()
	if err != nil {
		r.Capabilities.VMBoot, r.Capabilities.GuestExec = "no", "no"
		r.addError("a guest could not be tried", err)
		return
	}
	r.Accelerator = accelerator
	r.Capabilities.VMBoot, r.Capabilities.GuestExec = "yes", "yes"
}

// tryGVisor runs a command in a guest of the other kind.
func (r *Report) tryGVisor(ctx context.Context, o Options) {
	if len(r.EnvironmentCache.Installed) == 0 || o.TryGVisor == nil {
		return
	}
	r.Capabilities.GVisor = "yes"
	if err := o.TryGVisor(ctx, r.EnvironmentCache.Installed[0]); err != nil {
		r.Capabilities.GVisor, r.Capabilities.GVisorDetail = "no", err.Error()
		if o.GVisor {
			r.addError("a guest in gVisor could not be tried", err)
		}
	}
}

// faster is the remedy for a host on which virtual machines are slow, or cannot be had.
func (r *Report) faster() string {
	if r.Capabilities.GVisor != "yes" {
		return ""
	}
	return "; or use --isolation gvisor (PYRO_ISOLATION=gvisor), which works here and computes at nearly " +
		"the speed of the host: docs/isolation.md says what it isolates"
}

// verdict tells what is known of KVM, as the trial has just found it.
func (r *Report) verdict(ctx context.Context, o Options, driver VMM) {
	// TCG needs no trial, so that this only asks for what is remembered.
	choice, err := driver.Accelerator(ctx, vmm.TCG, nil)
	if err != nil {
		return
	}
	r.KVM = choice.KVM
	if r.Accelerator == string(vmm.TCG) && o.Accelerator != string(vmm.TCG) {
		r.add(false, "guests run under emulation, several times slower: "+choice.KVM.Reason,
			"use a host whose processor's virtualization is open to this user (group kvm), or go on: "+
				"everything works"+r.faster())
	}
}

func platform() Platform {
	p := Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH, CPUs: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		p.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		p.MemoryMiB = int64(info.Totalram) * int64(info.Unit) >> 20
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return p
	}
	for line := range strings.Lines(string(release)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			p.Distribution = strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return p
}

func cache(o Options, r *Report) Cache {
	c := Cache{Path: o.CacheDir, StatePath: o.StateDir, Installed: []string{}}
	c.Bytes, c.StateBytes = usage(o.CacheDir), usage(o.StateDir)
	c.FreeBytes, c.StateFreeBytes = free(o.CacheDir), free(o.StateDir)
	list, err := environment.Open(o.CacheDir).List()
	if err != nil {
		r.addError("the environments cannot be listed", err)
	}
	for _, l := range list {
		if l.Problem != "" {
			r.add(true, l.Problem, "have it made again with pyro env pull "+l.Name)
		}
		if l.Installed {
			c.Installed = append(c.Installed, l.Name)
		}
	}
	for path, n := range map[string]int64{o.CacheDir: c.FreeBytes, o.StateDir: c.StateFreeBytes} {
		if n < lowSpace {
			r.add(false, fmt.Sprintf("the disk of %q has %d MiB left", path, n>>20),
				"free some, with pyro env prune for one, or move it with PYRO_CACHE_DIR or PYRO_STATE_DIR")
		}
	}
	return c
}

// verify reads all that guests boot from.
func (r *Report) verify(ctx context.Context, o Options) {
	store := environment.Open(o.CacheDir)
	r.EnvironmentCache.Damaged = []string{}
	for _, name := range r.EnvironmentCache.Installed {
		if err := store.Verify(ctx, name); err != nil {
			r.EnvironmentCache.Damaged = append(r.EnvironmentCache.Damaged, name)
			r.add(true, fmt.Sprintf("the environment %q cannot be used: %v", name, err),
				"have it made again with pyro env pull "+name)
		}
	}
}

// usage sums what a tree takes on disk.
func usage(root string) (n int64) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			n += st.Blocks * 512
		}
		return nil // What cannot be read does not count.
	})
	return n
}

// free gives the room on the disk of a path, or of the nearest directory above it that is there.
func free(path string) int64 {
	var st unix.Statfs_t
	for unix.Statfs(path, &st) != nil {
		if path == filepath.Dir(path) {
			return 0
		}
		path = filepath.Dir(path)
	}
	return int64(st.Bavail) * st.Bsize
}
