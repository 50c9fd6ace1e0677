// Package record is the truth on disk about one VM: a directory with a lock, a readable record written
// atomically, and an append-only history. Whoever holds the lock is the VM's supervisor and the only writer;
// everybody may read.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Format is the version of the record's layout that this program writes and reads.
const Format = 1

// Names of what stands in a VM's directory.
const (
	LockFile    = "lock"
	VMFile      = "vm.json"
	HistoryFile = "history.jsonl"
	OutputsFile = "outputs.raw"
	NetworkFile = "network.jsonl"
	ScratchFile = "scratch.img"
	ConsoleFile = "console.log"
	LogFile     = "supervisor.log"
	SocketFile  = "socket"
	// What a task was seeded with, and from where; made before its creation is complete.
	SeedPackFile = "seed.pack"
	SeedFile     = "seed.json"
)

// maxRecord bounds a record as it is read: a longer file is no record of pyro's.
const maxRecord = 1 << 20

// Kind says what a VM is for.
type Kind string

// The kinds.
const (
	KindRun   Kind = "run"   // one command, bound to its client's connection
	KindVM    Kind = "vm"    // made by create_vm
	KindTask  Kind = "task"  // keeps its disk until it is deleted
	KindBuild Kind = "build" // pyro's own: configures an environment or makes a template
	KindPool  Kind = "pool"  // kept ready for a run to come
)

// State of a VM.
type State string

// The states of the contract.
const (
	StateCreated State = "created"
	StateStarted State = "started"
	StateStopped State = "stopped"
	StatePaused  State = "paused" // its memory is on disk; its next start goes on from there
)

// VM is the record of one VM. It outlives the supervisor that wrote it.
type VM struct {
	Format         int        `json:"format"`
	ID             string     `json:"id"`
	Kind           Kind       `json:"kind"`
	Name           string     `json:"name,omitempty"` // by which it may be called
	State          State      `json:"state"`
	Environment    string     `json:"environment"`
	VCPUCount      int        `json:"vcpu_count"`
	MemMiB         int        `json:"mem_mib"`
	DiskMiB        int        `json:"disk_mib"`
	TTLSeconds     int        `json:"ttl_seconds"` // of idleness; 0 is no limit
	CreatedAt      time.Time  `json:"created_at"`
	ExpiresAt      *time.Time `json:"expires_at"`
	NetworkEnabled bool       `json:"network_enabled"`
	Allow          []string   `json:"allow,omitempty"`
	AllowHost      []int      `json:"allow_host,omitempty"`
	Publish        []string   `json:"publish,omitempty"`
	Forwards       []Forward  `json:"forwards,omitempty"`
	// The network is for published ports alone
	InboundOnly     bool   `json:"inbound_only,omitempty"`
	AllowHostCompat bool   `json:"allow_host_compat"`
	ExecutionMode   string `json:"execution_mode"`
	Accelerator     string `json:"accelerator"`
	// What is to stand between the guest and the host; empty, in older records, is a virtual machine
	Isolation string `json:"isolation,omitempty"`
	Warm      bool   `json:"warm"`            // the guest was started from a template
	Stale     bool   `json:"stale,omitempty"` // the template is worth to be made anew
	// Of the host, if it stands in for a guest
	Confinement     string            `json:"confinement,omitempty"`
	Warnings        []string          `json:"warnings,omitempty"`        // what the host may not be able to keep
	VMMConfinement  string            `json:"vmm_confinement,omitempty"` // what the VMM is confined by
	WantAccelerator string            `json:"want_accelerator"`
	LastError       *string           `json:"last_error"`
	Metadata        map[string]string `json:"metadata"`
	CommandCount    int               `json:"command_count"`
	LastCommand     *LastCommand      `json:"last_command"`
	Current         []Current         `json:"current_commands,omitempty"`
	Seed            *Seed             `json:"workspace_seed,omitempty"`
	// Which incarnation of its guest the VM is at; each start makes another
	Generation int64 `json:"generation,omitempty"`
	// The snapshot that the VM was forked from
	From string `json:"from,omitempty"`
	// The guest goes on with the memory of before, or of another
	Resumed bool `json:"resumed,omitempty"`
	// Commands that ran in what the VM was forked from, and go on in it
	Running []Entry `json:"running,omitempty"`
	// Background commands likewise
	Jobs []Job `json:"jobs,omitempty"`
	// Creation is finished; an incomplete VM goes with its creator
	Complete   bool   `json:"complete"`
	Boot       Boot   `json:"boot"`
	CacheDir   string `json:"cache_dir"`
	HostBootID string `json:"host_boot_id"` // of the host's boot that the supervisor ran in
}

// Forward is a port of the host that leads to one in the guest.
type Forward struct {
	HostIP    string `json:"host_ip"`
	HostPort  int    `json:"host_port"`
	GuestPort int    `json:"guest_port"`
	UDP       bool   `json:"udp,omitempty"`
}

// Like is the record of another VM that is made of the same things. It has nothing that is this VM's alone:
// no ports of the host, no metadata, no errors.
func (v *VM) Like() VM {
	return VM{
		Kind:            v.Kind,
		Environment:     v.Environment,
		VCPUCount:       v.VCPUCount,
		MemMiB:          v.MemMiB,
		DiskMiB:         v.DiskMiB,
		TTLSeconds:      v.TTLSeconds,
		NetworkEnabled:  v.NetworkEnabled,
		Allow:           v.Allow,
		AllowHost:       v.AllowHost,
		InboundOnly:     v.InboundOnly,
		Isolation:       v.Isolation,
		WantAccelerator: v.WantAccelerator,
		Seed:            v.Seed,
		Boot:            v.Boot,
		CacheDir:        v.CacheDir,
		Generation:      v.Generation,
		CommandCount:    v.CommandCount,
	}
}

// LastCommand is the newest finished command.
type LastCommand struct {
	Command  string `json:"command"`
	ExitCode int    `json:"exit_code"`
}

// Current is a command under way.
type Current struct {
	Sequence  int       `json:"sequence"`
	Command   string    `json:"command"`
	StartedAt time.Time `json:"started_at"`
}

// Seed says what the workspace was filled with.
type Seed struct {
	Mode         string  `json:"mode"`
	SourcePath   *string `json:"source_path"`
	Destination  string  `json:"destination"`
	EntryCount   int64   `json:"entry_count"`
	BytesWritten int64   `json:"bytes_written"`
	// LeftOut names the first of what could not come along, each with its reason.
	LeftOut      []string `json:"left_out,omitempty"`
	LeftOutCount int64    `json:"left_out_count,omitempty"`
	// Ignored names the first of what git ignores and stayed behind for it.
	Ignored      []string `json:"ignored,omitempty"`
	IgnoredCount int64    `json:"ignored_count,omitempty"`
}

// Boot is what a VM boots from, fixed at its creation so that a later pull does not change a task's base.
type Boot struct {
	Image       string   `json:"image"` // path of the read-only image
	ImageSHA256 string   `json:"image_sha256"`
	Missing     string   `json:"missing,omitempty"` // if there is no image: why
	Kernel      Kernel   `json:"kernel"`
	Env         []string `json:"env,omitempty"`
	User        string   `json:"user,omitempty"`
	Entrypoint  []string `json:"entrypoint,omitempty"` // before a run's argument vector
	Cmd         []string `json:"cmd,omitempty"`        // of a run without one
	// Where commands run unless they say otherwise; empty is /workspace
	WorkDir string `json:"work_dir,omitempty"`
	// Trust are authorities that its programs are to trust besides, in PEM.
	Trust string `json:"trust,omitempty"`
}

// Kernel is what a guest runs on: an image, and modules in the order in which they are loaded.
type Kernel struct {
	Path       string   `json:"path"`
	SHA256     string   `json:"sha256"`
	ModulesDir string   `json:"modules_dir"`
	Modules    []string `json:"modules"`
}

// Expired tells whether the VM is past its TTL.
func (v *VM) Expired(now time.Time) bool { return v.ExpiresAt != nil && now.After(*v.ExpiresAt) }

// ErrNewer is given for a record that a newer pyro wrote.
var ErrNewer = errors.New("written by a newer version of pyro")

// Load reads a VM's record.
func Load(dir string) (VM, error) {
	f, err := os.Open(filepath.Join(dir, VMFile))
	if err != nil {
		return VM{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return VM{}, err
	}
	var v VM
	if err := json.Unmarshal(data, &v); err != nil || len(data) > maxRecord {
		return VM{}, fmt.Errorf("record %q is damaged: %w", f.Name(), errors.Join(err, io.ErrUnexpectedEOF))
	}
	if v.Format > Format {
		return v, fmt.Errorf("record %q is %w", f.Name(), ErrNewer)
	}
	return v, nil
}

// Save writes a VM's record: whole or not at all, also across a crash of the host if durable is set.
func Save(dir string, v VM, durable bool) error {
	v.Format = Format
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeAtomically(filepath.Join(dir, VMFile), append(data, '\n'), durable)
}

func writeAtomically(path string, data []byte, durable bool) (err error) {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(tmp))
	}
	if !durable {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// EndedWithout says what must have happened to a VM whose record says that it runs, though nobody supervises
// it.
func EndedWithout(vm VM) string {
	if vm.HostBootID != HostBootID() {
		return "the host was restarted while the guest ran"
	}
	return "the supervisor was killed while the guest ran"
}

// HostBootID names this boot of the host.
func HostBootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
