package guest

import (
	"log/slog"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/network"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Spec is all that a guest is made of.
type Spec struct {
	ID        string // the VM's, which is the guest's host name
	MachineID string // 32 lower-case hex digits; it stays the same for a task that is started again

	Generation int64 // which incarnation of the VM this guest is, from 1; 0 is 1

	Dir      string // the VM's own directory, where the files named below are made
	CacheDir string // where environments and templates are kept
	OwnDir   string // for what cannot be kept there, see [OwnDir]

	Image       string // path of the read-only base image
	ImageSHA256 string
	Missing     string // if there is no image: why
	Kernel      Kernel

	// Env, User and WorkDir are what the image says about commands: variables, who runs them and where. An
	// empty User is root, an empty WorkDir /workspace.
	Env     []string
	User    string
	WorkDir string
	Trust   string // authorities that the guest is to trust besides, in PEM

	VCPUs   int
	MemMiB  int
	DiskMiB int
	// PromisedMiB is the memory that other living guests have been promised, used or not.
	PromisedMiB int
	Durable     bool // the disk outlives the guest, so that what is flushed must reach the host's disk

	Network bool
	Allow   []string // what the guest may reach, as package network reads rules
	Host    []int    // ports of the host's loopback that it may reach besides
	Publish []string // the guest's ports that the host listens for
	Inbound bool     // the network is for these ports alone: the guest reaches nothing

	Isolation   string // IsolationVM, which empty is, or IsolationGVisor
	Accelerator string // what is wanted of the driver: auto, kvm, tcg
	AllowHost   bool   // the host may stand in, confined, if no guest can be had
	OnHost      bool   // the host stood in before, and has its files

	// Others tells whether commands run in VMs of their own just then, for which a template steps aside that
	// is made in the background. It may be nil.
	Others func() bool

	// Files of the VM's directory, by name.
	ScratchFile string
	ConsoleFile string
	NetworkFile string
}

// OwnDir is where a user keeps what guests need, if the cache may only be read: in a directory of the state.
func OwnDir(cacheDir, stateDir string) string { return environment.OwnDir(cacheDir, stateDir) }

// Kernel is what a guest runs on.
type Kernel = environment.Kernel

// CheckRules says whether a guest's network rules can be read.
func CheckRules(allow, publish []string) error {
	_, err := network.Parse(network.Config{Allow: allow, Publish: publish})
	return err
}

// Drivers is the table of drivers that a [Launcher] is handed.
type Drivers = vmm.Drivers

// Launcher starts guests.
type Launcher struct {
	Drivers Drivers
	Log     *slog.Logger // never nil
}

// How commands are executed, in the contract's words.
const (
	ModeGuest = link.ModeGuest
	ModeHost  = link.ModeHostCompat
)

// What may stand between a guest and the host.
const (
	IsolationVM     = "vm"     // a virtual machine, of the table's default driver
	IsolationGVisor = "gvisor" // a kernel that is a program of the host's
)

// driver is the name of the driver that gives an isolation, empty for the default one.
func (s Spec) driver() string {
	if s.Isolation == IsolationGVisor {
		return s.Isolation
	}
	return ""
}

// isolation is what stands between a planned guest and the host.
func (p plan) isolation() string {
	if p.driver.Abilities().Boxed {
		return p.driver.Name()
	}
	return IsolationVM
}

// Facts are what a guest has come to be.
type Facts struct {
	Mode        string // ModeGuest or ModeHost
	Isolation   string // vm or the name of a driver that gives another; empty if the host stands in
	Accelerator string // empty if the host stands in
	MemMiB      int
	Warm        bool   // it was started from a template
	Stale       bool   // the template is worth to be made anew: it starts guests faster then
	Resumed     bool   // it goes on with the memory that was kept of it, or of another
	Forgotten   string // if it should have and does not: why
	Confinement string // of the host, if that stands in
	// VMMConfinement is what the VMM is confined by, and empty if the host stands in or the VMM does not
	// tell.
	VMMConfinement string
}
