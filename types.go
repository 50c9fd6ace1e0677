package pyro

import (
	"io"
	"time"
)

// Shape is what every VM and task is made of. The JSON names are those of every face.
type Shape struct {
	// Environment names an installed or known environment, as ListEnvironments gives it, or a container
	// image: HOST/NAME[:TAG][@DIGEST], oci:DIR, oci-archive:FILE or docker-archive:FILE.
	Environment string `json:"environment" jsonschema:"the environment's name, for example debian:12, or a container image with its registry, for example docker.io/library/python:3.12-slim"`
	// VCPUCount is the number of virtual CPUs; 0 is 1.
	VCPUCount int `json:"vcpu_count,omitempty" jsonschema:"virtual CPUs"`
	// MemMiB is the guest's memory in MiB; 0 is 1024.
	MemMiB int `json:"mem_mib,omitempty" jsonschema:"memory in MiB"`
	// TTLSeconds bounds how long the VM or task is idle: it runs from the creation, or from the end of the
	// last command, and never cuts a command short. Past it the VM or task is removed. nil is 600, 0 is no
	// limit.
	TTLSeconds *int `json:"ttl_seconds,omitempty" jsonschema:"seconds without a command after which the VM or task is removed; 0 is no limit"`
	// Network gives the guest a network that reaches the public internet, or what Allow lists.
	Network bool `json:"network,omitempty" jsonschema:"give the guest a network"`
	// Allow turns the network into an allow-list: HOST[:PORT], *.domain, an address or a CIDR. It implies
	// Network. A name opens TLS, HTTP/1 and SSH; NAME:PORT/tcp opens a port to any protocol, NAME:PORT/udp
	// to datagrams.
	Allow []string `json:"allow,omitempty" jsonschema:"allow-list for the network: HOST[:PORT], *.domain, address or CIDR; implies network"`
	// AllowHostCompat lets the command run on the host, confined, if no guest can be had.
	AllowHostCompat bool `json:"allow_host_compat,omitempty" jsonschema:"let the command run on the host, confined, if no guest can be had"`
	// Isolation is what stands between the guest and the host: vm, a virtual machine, or gvisor, a kernel in
	// user space, which computes at the host's speed if there is no KVM. Empty is [Options].Isolation. There
	// is no fallback.
	Isolation string `json:"isolation,omitempty" jsonschema:"what stands between guest and host: vm is a virtual machine, gvisor a kernel in user space, much faster if the host has no KVM"`
	// DiskMiB is the size of the writable disk; it is sparse. 0 is 8192.
	DiskMiB int `json:"disk_mib,omitempty" jsonschema:"size of the writable disk in MiB; it is sparse"`
	// Metadata is kept with the VM or task and given back by its status.
	Metadata map[string]string `json:"metadata,omitempty" jsonschema:"kept with the VM and given back by its status"`
	// WaitSeconds is how long to wait for a place while as many VMs and tasks live as may; nil is 60, 0 fails
	// at once.
	WaitSeconds *int `json:"wait_seconds,omitempty" jsonschema:"seconds to wait for a place while as many VMs and tasks live as may; 0 fails at once"`
	// CAFile names a file of the host with certificates of authorities, in PEM, that the guest's programs are
	// to trust.
	CAFile string `json:"ca_file,omitempty" jsonschema:"a file on the host with certificates of authorities, in PEM, that programs in the guest are to trust"`
	// HostCA has the guest trust the authorities that were added to this host's own (a company's, most
	// likely); nil is to do so if the guest has a network that leads outwards.
	HostCA *bool `json:"host_ca,omitempty" jsonschema:"have programs in the guest trust the authorities that were added to the host's; left out: if it has a network"`
	// AllowHost opens ports of this host's loopback to the guest, at the name host.pyro.internal. By itself
	// it gives a network that reaches nothing else.
	AllowHost []int `json:"allow_host,omitempty" jsonschema:"ports of the host's loopback that the guest may reach, at host.pyro.internal"`
	// Progress, if set, is called with the pull that comes first if the environment is not installed yet, and
	// while it waits for a place.
	Progress func(PullProgress) `json:"-"`
}

// Streams are a command's, as it runs. A nil Stdin is an empty one; nil writers leave the output to the
// result.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// LazyStdin leaves Stdin unread until the command reads its own.
	LazyStdin bool
	// Sizes are those of the command's terminal as they change, if it has one; they are passed on until Stdin
	// has ended.
	Sizes <-chan TerminalSize
}

// TerminalSize is a terminal's, in characters.
type TerminalSize struct {
	Rows uint16 `json:"rows,omitempty" jsonschema:"lines of the terminal"`
	Cols uint16 `json:"cols,omitempty" jsonschema:"characters in a line of the terminal"`
}

// Terminal asks for a command to have a terminal: it is then at once its standard input, output and error,
// and what the command writes comes as Stdout. A size of 0 is 24 by 80.
type Terminal struct {
	TerminalSize
	// Type is the TERM variable; empty is xterm-256color.
	Type string `json:"type,omitempty" jsonschema:"the TERM variable, xterm-256color by default"`
	// Locale is the LANG variable, if the guest has that locale.
	Locale string `json:"locale,omitempty" jsonschema:"the LANG variable, if the guest has that locale"`
}

// CommandSettings say as whom, where and with what variables commands run.
type CommandSettings struct {
	// Env are variables, over the environment's own.
	Env map[string]string `json:"env,omitempty" jsonschema:"environment variables of the command, by name"`
	// WorkDir is the working directory in the guest; a relative one is below the default, which is /workspace
	// unless the environment has another.
	WorkDir string `json:"workdir,omitempty" jsonschema:"working directory in the guest; relative to /workspace"`
	// User is who runs the command: a name or a number, either with :GROUP; empty is the environment's own,
	// else root.
	User string `json:"user,omitempty" jsonschema:"who runs the command in the guest: a name or a number, with :GROUP if need be"`
}

// CommandLine is one command: exactly one of its two forms.
type CommandLine struct {
	// Command is a shell's command line, run by bash -lc in the guest if the environment has bash, else by sh
	// -lc.
	Command string `json:"command,omitempty" jsonschema:"a command line for a shell: bash if the environment has it, else sh"`
	// Argv is an argument vector, run as it is. The command line's faces use it.
	Argv []string `json:"argv,omitempty" jsonschema:"an argument vector, run as it is, in place of command"`
	CommandSettings
	// Secrets are variables whose values are never written down, and are masked in what is kept of the output
	// if they have 4 bytes or more.
	Secrets map[string]string `json:"secrets,omitempty" jsonschema:"environment variables whose values are never written down, and masked in the output"`
	// Terminal gives the command a terminal; nil is none.
	Terminal *Terminal `json:"-"`
	// TimeoutSeconds bounds the command; nil is 30, or no limit for a command with a terminal. 0 is no limit.
	TimeoutSeconds *int `json:"timeout_seconds,omitempty" jsonschema:"seconds after which the command and all that it started is ended; 0 is no limit"`
	// GraceSeconds is how long after a polite signal the command is killed, when its time is over (SIGTERM)
	// or its caller gives up (SIGTERM, or SIGINT if that is why); nil is 5, 0 kills at once.
	GraceSeconds *int `json:"grace_seconds,omitempty" jsonschema:"seconds between SIGTERM, at the timeout, and SIGKILL"`
	// Streams pass input and output while the command runs.
	Streams Streams `json:"-"`
}

// Output is how a command ended, and what it wrote. Stdout and Stderr hold at most OutputLimit bytes each:
// the beginning and the end, with a mark between them that counts what is left out.
type Output struct {
	ExitCode        int    `json:"exit_code"`
	Stdout          string `json:"stdout"`
	Stderr          string `json:"stderr"`
	StdoutTruncated bool   `json:"stdout_truncated,omitempty"`
	StderrTruncated bool   `json:"stderr_truncated,omitempty"`
	TimedOut        bool   `json:"timed_out,omitempty"`
	DurationMS      int64  `json:"duration_ms"`
	ExecutionMode   string `json:"execution_mode"`
	// StdoutBase64 and StderrBase64 are the same bytes of a stream that is not UTF-8, which a JSON text
	// cannot hold.
	StdoutBase64 []byte `json:"stdout_base64,omitempty"`
	StderrBase64 []byte `json:"stderr_base64,omitempty"`
	// Shell is what ran a command line: bash or sh; empty for an argument vector.
	Shell string `json:"shell,omitempty"`
	// Notice is pyro's own word on how the command ended (a timeout, guest memory or disk exhausted), or "".
	Notice string `json:"notice,omitempty"`
	// Cause is what Notice is about, for programs: timeout, guest_memory, guest_disk, host_disk, and for a
	// command that was interrupted also caller_gone, guest_ended, guest_stuck, panic, killed, stopped,
	// protocol. Empty is none of them.
	Cause string `json:"cause,omitempty"`
}

// RunInVMRequest asks for one command in a fresh VM. As with docker run, Argv follows the entry point of an
// environment that has one, and stands in for the environment's own command, which is run if neither
// form is given. Command is run by the shell alone.
type RunInVMRequest struct {
	Shape
	CommandLine
	// SourcePath names a directory, .tar, .tar.gz or .tgz on the host whose content /workspace gets, where
	// the command then runs. Strict, Exclude and IncludeIgnored are those of [CreateTaskRequest].
	SourcePath     string   `json:"source_path,omitempty" jsonschema:"a directory or tar archive on the host whose content /workspace gets"`
	Strict         bool     `json:"strict,omitempty" jsonschema:"refuse a source of which something cannot come along"`
	Exclude        []string `json:"exclude,omitempty" jsonschema:"patterns of what stays behind, as in .gitignore"`
	IncludeIgnored bool     `json:"include_ignored,omitempty" jsonschema:"take along what git ignores"`
	// KeepWarm is for how many seconds one more clone of this shape is kept started after the run, for the
	// next one of any process; 0 is none. The default is [Options.KeepWarm]. A guest that is not cloned has
	// none.
	KeepWarm *int `json:"keep_warm,omitempty" jsonschema:"seconds for which one more VM of this shape waits, started, for the next run of any process"`
	// Outputs are copied to the host when the command has ended, whatever its exit status: PATH=HOST_PATH.
	// One that is not there is told of in the result's warnings.
	Outputs []string `json:"outputs,omitempty" jsonschema:"what is copied to the host afterwards, as PATH=HOST_PATH"`
	// Entrypoint replaces the environment's entry point and its own command; nil keeps them, "" is none.
	Entrypoint *string `json:"entrypoint,omitempty" jsonschema:"a program that replaces the environment's entry point before argv"`
}

// RunInVMResult is the command's end. The VM is gone.
type RunInVMResult struct {
	VMID        string `json:"vm_id"`
	Environment string `json:"environment"`
	Command     string `json:"command"`
	Output
	VCPUCount   int    `json:"vcpu_count"`
	MemMiB      int    `json:"mem_mib"`
	Accelerator string `json:"accelerator"`
	// Isolation is what stood between the guest and the host: vm, gvisor, or none, if the host stood in.
	Isolation string `json:"isolation"`
	// Warm is that the guest was started from a template.
	Warm bool `json:"warm"`
	// VMMConfinement says what the VMM that the guest ran in was confined by, and what not.
	VMMConfinement string `json:"vmm_confinement"`
	// Confinement says what is confined and what is not, if the host stood in for a guest.
	Confinement string `json:"confinement,omitempty"`
	// Warnings are what the host may not be able to keep of what was asked for, and outputs that are not
	// there.
	Warnings []string `json:"warnings"`
	// WorkspaceSeed says what the workspace was filled with, if it was.
	WorkspaceSeed *WorkspaceSeed `json:"workspace_seed,omitempty"`
	// Outputs are the copies on the host.
	Outputs []CopyResult `json:"outputs,omitempty"`
}

// CreateVMRequest asks for a VM that is not started yet.
type CreateVMRequest struct {
	Shape
}

// VMRequest names a VM.
type VMRequest struct {
	VMID string `json:"vm_id" jsonschema:"the VM's id"`
}

// VM is a VM's record. State is created, started or stopped.
type VM struct {
	VMID            string            `json:"vm_id"`
	Environment     string            `json:"environment"`
	State           string            `json:"state"`
	VCPUCount       int               `json:"vcpu_count"`
	MemMiB          int               `json:"mem_mib"`
	TTLSeconds      int               `json:"ttl_seconds"`
	CreatedAt       time.Time         `json:"created_at"`
	ExpiresAt       *time.Time        `json:"expires_at"`
	NetworkEnabled  bool              `json:"network_enabled"`
	AllowHostCompat bool              `json:"allow_host_compat"`
	ExecutionMode   string            `json:"execution_mode"`
	LastError       *string           `json:"last_error"`
	Metadata        map[string]string `json:"metadata"`
	Accelerator     string            `json:"accelerator"`
	Isolation       string            `json:"isolation"`
	Confinement     string            `json:"confinement,omitempty"`
	// Warm is that the guest was started from a template.
	Warm bool `json:"warm"`
	// VMMConfinement says what the VMM that the guest runs in is confined by, and what not.
	VMMConfinement string `json:"vmm_confinement"`
	// Warnings are what the host may not be able to keep of what was asked for.
	Warnings []string `json:"warnings"`
}

// ExecVMRequest asks for one command in a started VM, which is removed afterwards.
type ExecVMRequest struct {
	VMID string `json:"vm_id" jsonschema:"the VM's id"`
	CommandLine
}

// ExecVMResult is the command's end. The VM is gone.
type ExecVMResult = RunInVMResult

// DeleteResult says what a deletion did.
type DeleteResult struct {
	Deleted bool `json:"deleted"`
}

// CreateTaskRequest asks for a started task.
type CreateTaskRequest struct {
	Shape
	// Name is another word for the task's id, if it is set: 1 to 63 lower-case letters, digits, dots, dashes
	// and underscores. No other living task has it.
	Name string `json:"name,omitempty" jsonschema:"a name for it, usable wherever its id is"`
	// CommandSettings are those of the task's commands, unless a command has its own.
	CommandSettings
	// SourcePath names a directory, .tar, .tar.gz or .tgz on the host whose content /workspace gets.
	SourcePath string `json:"source_path,omitempty" jsonschema:"a directory, .tar, .tar.gz or .tgz on the host whose content /workspace gets"`
	// Strict refuses a directory of which something cannot come along; otherwise that is left out and told
	// of.
	Strict bool `json:"strict,omitempty" jsonschema:"refuse a source of which something cannot come along"`
	// Exclude are patterns of what stays behind, as in .gitignore, over those of the source's .pyroignore.
	Exclude []string `json:"exclude,omitempty" jsonschema:"patterns of what stays behind, as in .gitignore"`
	// IncludeIgnored takes along what git ignores in a work tree.
	IncludeIgnored bool `json:"include_ignored,omitempty" jsonschema:"take along what git ignores"`
	// Publish opens guest ports on the host: [HOST_IP:]HOST_PORT:GUEST_PORT, on 127.0.0.1 unless said. It
	// gives the guest a network that is for these ports alone, unless Network or Allow is set, too.
	Publish []string `json:"publish,omitempty" jsonschema:"guest ports opened on the host: [HOST_IP:]HOST_PORT:GUEST_PORT; they alone open nothing outwards"`
}

// TaskRequest names a task: by its id, its name, or a beginning of its id that no other has.
type TaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
}

// ExtendTaskRequest asks for a task to be kept for longer.
type ExtendTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// TTLSeconds is the idle TTL from now on; nil keeps its length.
	TTLSeconds *int `json:"ttl_seconds,omitempty" default:"none" jsonschema:"idle TTL from now on, in seconds; left out: as long as before"`
}

// Task is a task's record.
type Task struct {
	TaskID          string            `json:"task_id"`
	Name            string            `json:"name"` // "" if it has none
	Environment     string            `json:"environment"`
	State           string            `json:"state"`
	WorkspacePath   string            `json:"workspace_path"`
	VCPUCount       int               `json:"vcpu_count"`
	MemMiB          int               `json:"mem_mib"`
	TTLSeconds      int               `json:"ttl_seconds"`
	CreatedAt       time.Time         `json:"created_at"`
	ExpiresAt       *time.Time        `json:"expires_at"`
	NetworkEnabled  bool              `json:"network_enabled"`
	AllowHostCompat bool              `json:"allow_host_compat"`
	ExecutionMode   string            `json:"execution_mode"`
	CommandCount    int               `json:"command_count"`
	Running         []RunningCommand  `json:"running,omitempty"`
	LastCommand     *LastCommand      `json:"last_command"`
	WorkspaceSeed   WorkspaceSeed     `json:"workspace_seed"`
	LastError       *string           `json:"last_error"`
	Metadata        map[string]string `json:"metadata"`
	Accelerator     string            `json:"accelerator"`
	Isolation       string            `json:"isolation"`
	Confinement     string            `json:"confinement,omitempty"`
	// Warm is that the guest was started from a template.
	Warm bool `json:"warm"`
	// VMMConfinement says what the VMM that the guest runs in is confined by, and what not.
	VMMConfinement string `json:"vmm_confinement"`
	// Warnings are what the host may not be able to keep of what was asked for.
	Warnings []string `json:"warnings"`
	// ForkedFrom is the id of the snapshot that the task was forked from, which may be gone.
	ForkedFrom string `json:"forked_from,omitempty"`
}

// RunningCommand is a command of a task that has not ended.
type RunningCommand struct {
	Sequence  int       `json:"sequence"`
	Command   string    `json:"command"`
	StartedAt time.Time `json:"started_at"`
}

// LastCommand is the newest command of a task.
type LastCommand struct {
	Command  string `json:"command"`
	ExitCode int    `json:"exit_code"`
}

// WorkspaceSeed says what /workspace was filled with. Mode is empty, directory or tar_archive.
type WorkspaceSeed struct {
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

// ExecTaskRequest asks for one command in a task, which lives on.
type ExecTaskRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	CommandLine
}

// ExecTaskResult is the command's end, as the task's history keeps it.
type ExecTaskResult struct {
	TaskID   string `json:"task_id"`
	Sequence int    `json:"sequence"`
	CWD      string `json:"cwd"`
	Command  string `json:"command"`
	Output
}

// NetworkInfo is the state of a guest's network. Fields beyond Enabled are empty without one.
type NetworkInfo struct {
	VMID    string `json:"vm_id"`
	Enabled bool   `json:"enabled"`
	NetworkDetails
}

// ListTasksRequest says which tasks are asked for.
type ListTasksRequest struct {
	// Labels are entries of their metadata that all of them have.
	Labels map[string]string `json:"labels,omitempty" jsonschema:"entries of metadata that each of them has"`
}

// ListTasksResult is the tasks that live or are kept, oldest first.
type ListTasksResult struct {
	Tasks []Task `json:"tasks"`
}

// ListVMsResult is all that lives or is kept in the state directory.
type ListVMsResult struct {
	VMs []VM `json:"vms"`
	// Spares were started ahead, and wait for runs.
	Spares []VM   `json:"spares"`
	Tasks  []Task `json:"tasks"`
}

// ReapResult names what was reaped: VMs and tasks past their TTL, and what dead supervisors left.
type ReapResult struct {
	Count  int      `json:"count"`
	Reaped []string `json:"reaped"`
}
