// Package link is what may be asked of a VM: the messages and the client, spoken on both hops
// (face to supervisor, supervisor to agent).
//
// A conversation is one wire stream. The asking side sends a [Request] as a control message, then raw data
// messages where the operation takes input. The answering side sends data messages and ends with exactly
// one [Reply]. A stream that ends without a Reply means that the other side died.
package link

import "encoding/json"

// Version is the protocol's version. Both ends send it in the greeting of a connection (see [Hello]).
const Version = 2

// What the kernel command line tells the agent, which has to know it before it can be spoken to.
const (
	CmdlineNetwork = "pyro.network=1" // there is a network device
	CmdlineWarm    = "pyro.warm=1"    // it is to run its cold code once before it is frozen
)

// Boxed is the agent's first argument in a guest whose kernel is a program of the host's. Arguments as on a
// kernel command line follow. The agent then finds the link to its host and, if it has a network, that
// network's frames open.
const (
	Boxed           = "boxed"
	BoxedLink       = 3
	BoxedNetwork    = 4
	BoxedKept       = 5                // what the host has kept of the disk: see PartLength
	CmdlineKept     = "pyro.kept=1"    // there is such
	CmdlineDiskSize = "pyro.disk_mib=" // a number: how much may be written
	CmdlineMemory   = "pyro.mem_mib="  // a number: how much commands and the agent may use
)

// Workspace is the directory in the guest that a seed fills and in which commands run unless they say
// otherwise.
const Workspace = "/workspace"

// The execution modes: how commands are executed, in the contract's words.
const (
	ModeGuest      = "guest"
	ModeHostCompat = "host_compat"
)

// Op names an operation.
type Op string

// The operations. The agent answers those up to OpShutdown; the supervisor answers what concerns the VM as
// a whole and passes the rest on. An operation that the answering side does not know gets
// [CodeUnsupported].
const (
	OpHello    Op = "hello"    // Empty -> Hello
	OpIdentify Op = "identify" // Identify -> Identified: whenever a guest becomes a machine of its own
	OpSetUp    Op = "set_up"   // SetUp -> Empty: once a boot
	OpExec     Op = "exec"     // Exec, stdin data -> stdout and stderr data, ExecResult
	OpAttach   Op = "attach"   // Attach, stdin data -> Attached, stdout and stderr data, ExecResult
	OpCommands Op = "commands" // Empty -> CommandList
	OpSignal   Op = "signal"   // Signal -> Empty
	OpResize   Op = "resize"   // Resize -> Empty
	OpDial     Op = "dial"     // Dial, data <-> data, Empty
	OpImport   Op = "import"   // Import, data of package archive -> ImportResult
	OpStat     Op = "stat"     // FilePath -> FileInfo
	OpRead     Op = "read"     // ReadFile -> data, FileInfo
	OpWrite    Op = "write"    // WriteFile, data -> FileInfo
	OpList     Op = "list"     // ListFiles -> JSON of []FileInfo as data, Listed
	OpFetch    Op = "fetch"    // Fetch -> data of package archive, Fetched
	OpReplace  Op = "replace"  // JSON of Replace as data -> Empty: all of it or nothing
	OpExport   Op = "export"   // Export -> tar data, Empty: what differs from the base image, OCI whiteouts
	OpSave     Op = "save"     // Save -> tar data, Empty: what differs, as it is, of a disk that is memory
	OpSync     Op = "sync"     // Empty -> Empty: all file systems written out
	OpHold     Op = "hold"     // Empty -> Empty: commands stand still until OpRelease
	OpRelease  Op = "release"  // Empty -> Empty
	OpShutdown Op = "shutdown" // Empty -> Empty, then the guest powers off

	OpCreate Op = "create" // the VM's record as wanted -> as it is: the first request to a new supervisor
	// Empty -> the VM's record: the first request to one that takes over a stopped VM
	OpResume   Op = "resume"
	OpStatus   Op = "status"   // Empty -> the VM's record
	OpStart    Op = "start"    // Empty -> the VM's record
	OpStop     Op = "stop"     // Empty -> the VM's record
	OpExtend   Op = "extend"   // Extend -> the VM's record: its TTL begins anew
	OpDelete   Op = "delete"   // Empty -> Empty
	OpSeeded   Op = "seeded"   // Seeded -> the VM's record: creation is complete
	OpFollow   Op = "follow"   // Empty -> Event in each data message, until the VM ends
	OpSnapshot Op = "snapshot" // TakeSnapshot -> Snapshot
	OpRollback Op = "rollback" // Rollback -> Snapshot
	OpPause    Op = "pause"    // Empty -> the VM's record
	OpWarm     Op = "warm"     // Warm -> Warmed: make a template of this VM's shape
	OpSpare    Op = "spare"    // Empty -> the VM's record: it starts, and waits to be claimed
	OpClaim    Op = "claim"    // the VM's record as wanted -> as it is: it is the caller's from then on
	OpNetwork  Op = "network"  // Empty -> the network's state
)

// Kinds of message on a stream, in the numbering of package wire.
const (
	KindControl = 1 // JSON: a Request or a Reply
	KindStdin   = 2
	KindStdout  = 3
	KindStderr  = 4
	KindData    = 5 // a tree
	KindNote    = 6 // JSON: an Attached
	KindResize  = 7 // a terminal's size: rows and columns, 16 bits each, little-endian
)

// Request opens a conversation.
type Request struct {
	Op     Op              `json:"op"`
	Params json.RawMessage `json:"params,omitempty"`
}

// Reply ends a conversation: Error is nil on success.
type Reply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Empty is the parameter or result of operations that have none.
type Empty struct{}

// Save asks for what was written to a guest's disk that is memory.
type Save struct {
	Full bool `json:"full"` // all of it; otherwise what has changed since the last Save
}

// Saved ends a Save.
type Saved struct {
	LeftOut      []string `json:"left_out,omitempty"` // the first of what could not be carried, and why
	LeftOutCount int64    `json:"left_out_count,omitempty"`
}

// Hello tells who answers.
type Hello struct {
	Version int    `json:"version"`
	Build   string `json:"build"` // digest or version of the program that answers
	Boot    Boot   `json:"boot"`  // of a guest; a clone tells of the machine that it was cloned from
}

// Boot is how long a guest took to boot, in milliseconds.
type Boot struct {
	KernelMS int64 `json:"kernel_ms"` // until the agent ran
	AgentMS  int64 `json:"agent_ms"`  // until the agent had mounted everything and listened
}

// Identify makes a guest a machine of its own. It is sent to each machine after it was booted, cloned,
// forked or resumed, before anything new runs in it. What a guest was asked before is replaced.
type Identify struct {
	Hostname  string `json:"hostname"`
	MachineID string `json:"machine_id"` // 32 lower-case hex digits
	Entropy   []byte `json:"entropy"`    // at least 32 random bytes, credited to the kernel's generator
	// Wall clock, nanoseconds since 1970 UTC, when the message was sent
	ClockNS int64    `json:"clock_ns"`
	Network *Network `json:"network,omitempty"`

	// Generation counts the machines that this guest has been. It is written to [GenerationFile] with the
	// machine's id, so that a program can notice that it has become part of another machine.
	Generation int64 `json:"generation"`
}

// GenerationFile is a file in the guest with one line: the machine's id and its generation. It is
// overwritten in place when either changes, which a program can wait for with inotify.
const GenerationFile = "/run/pyro/generation"

// Network is the guest's static network configuration.
type Network struct {
	MAC     string `json:"mac"`     // of the device to configure
	Address string `json:"address"` // in CIDR notation
	Gateway string `json:"gateway"`
	DNS     string `json:"dns"`
	MTU     int    `json:"mtu"`
}

// Identified answers Identify.
type Identified struct {
	Kernel string `json:"kernel"` // uname -r
	BootID string `json:"boot_id"`
}

// SetUp is the work of once a boot: who runs commands, where, and with what variables.
type SetUp struct {
	Env     []string `json:"env"`      // the environment's own variables, over the agent's defaults
	User    string   `json:"user"`     // who runs commands: name, uid, or either with :group; empty is root
	WorkDir string   `json:"work_dir"` // default working directory, made if missing; empty is /workspace
	Trust   string   `json:"trust"`    // certificates of authorities in PEM, to be trusted besides the image's
}

// Import asks for a tree to be written. It follows as package archive packs it, up to the stream's end.
type Import struct {
	Destination string `json:"destination"` // absolute; made if missing
	MaxEntries  int64  `json:"max_entries"`
	MaxBytes    int64  `json:"max_bytes"`
	Links       int    `json:"links,omitempty"`   // as package archive has them
	Owners      bool   `json:"owners,omitempty"`  // the tree says who owns what
	Spooled     bool   `json:"spooled,omitempty"` // the data are places in the spool: the supervisor's to set
}

// ImportResult ends an Import.
type ImportResult struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
	AtNS    int64 `json:"at_ns"` // when it was done, by the guest's clock
}

// Extend asks for the TTL to begin anew, with another length if one is given.
type Extend struct {
	TTLSeconds *int `json:"ttl_seconds,omitempty"`
}

// FilePath names a file of the guest's: an absolute path, or one below the workspace.
type FilePath struct {
	Path   string `json:"path"`
	Follow bool   `json:"follow"` // what a link leads to is meant
}

// FileInfo is what is known of a file. Of a link it is the link itself, unless it was asked to be followed.
type FileInfo struct {
	Path    string `json:"path"`
	Type    string `json:"type"` // one of the kinds of file below
	Size    int64  `json:"size"` // bytes
	Mode    uint32 `json:"mode"` // permissions with set-uid, set-gid and sticky
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	MTimeNS int64  `json:"mtime_ns"` // since 1970 UTC
	Target  string `json:"target,omitempty"`
}

// The kinds of file.
const (
	TypeFile      = "file"
	TypeDirectory = "directory"
	TypeLink      = "link"
	TypeOther     = "other" // a device, a FIFO, a socket
)

// ReadFile asks for a part of a regular file; links are followed in the guest.
type ReadFile struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	Limit  int64  `json:"limit"` // bytes, 0 is to the end
}

// WriteFile asks for a file to be made, or replaced as a whole. Directories above it are made.
type WriteFile struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode"` // permissions; 0 is those of the file that is there, else 0644
	Size int64  `json:"size"` // what must come, or nothing is changed
}

// ListFiles asks for what is in a directory.
type ListFiles struct {
	Path      string `json:"path"`
	Recursive bool   `json:"recursive"`
	Limit     int    `json:"limit"` // entries
}

// Listed ends a ListFiles.
type Listed struct {
	Truncated bool `json:"truncated"` // there is more
}

// Fetch asks for a file or a tree.
type Fetch struct {
	Path       string `json:"path"`
	Name       string `json:"name"` // of it in the archive; a directory without one is what is in it
	MaxEntries int64  `json:"max_entries"`
	MaxBytes   int64  `json:"max_bytes"`
	// Heads leaves out the contents of files that have not changed since SinceNS, or are over MaxContent
	// bytes.
	Heads      bool     `json:"heads,omitempty"`
	SinceNS    int64    `json:"since_ns,omitempty"`
	MaxContent int64    `json:"max_content,omitempty"`
	Skip       []string `json:"skip,omitempty"` // names of directories that are left out with what is in them
}

// Fetched ends a Fetch.
type Fetched struct {
	Entries   int64    `json:"entries"`
	Bytes     int64    `json:"bytes"`
	LeftOut   []string `json:"left_out,omitempty"` // the first few, each with its reason
	LeftCount int64    `json:"left_count,omitempty"`
}

// Export asks for what differs from the base image.
type Export struct {
	Workspace bool `json:"workspace"`       // and for the workspace, which no image has
	Still     bool `json:"still,omitempty"` // commands stand still meanwhile
}

// Replace asks for files to be written and removed, all or none.
type Replace struct {
	Files []Replacement `json:"files"`
}

// Replacement is one of the files.
type Replacement struct {
	Path    string `json:"path"`
	Content []byte `json:"content"`
	Mode    uint32 `json:"mode"` // as in WriteFile
	Remove  bool   `json:"remove"`
	Prune   bool   `json:"prune,omitempty"` // with Remove: the directories above it, too, if they are empty then
}

// Event is something that happened to a command, for those who follow.
type Event struct {
	Kind     EventKind       `json:"kind"`
	Sequence int             `json:"sequence"`
	Entry    json.RawMessage `json:"entry,omitempty"` // of EventStart: the history's entry as it begins
	Data     []byte          `json:"data,omitempty"`  // of EventStdout and EventStderr
}

// EventKind says what sort of thing happened.
type EventKind string

// The kinds of event. After EventEnd the history has the finished entry.
const (
	EventStart  EventKind = "start"
	EventStdout EventKind = "stdout"
	EventStderr EventKind = "stderr"
	EventEnd    EventKind = "end"
	EventLost   EventKind = "lost" // the follower was too slow: output is missing here
)

// TakeSnapshot asks for a snapshot.
type TakeSnapshot struct {
	Name  string `json:"name,omitempty"`
	Brief bool   `json:"brief,omitempty"` // it is to be deleted soon
}

// Snapshot answers OpSnapshot and OpRollback.
type Snapshot struct {
	ID      string `json:"id"`
	PauseMS int64  `json:"pause_ms"` // for how long the guest stood still
}

// Rollback asks for a VM to go on from a snapshot. Empty is the newest one of that VM.
type Rollback struct {
	Snapshot string `json:"snapshot,omitempty"`
}

// Warm asks for a template.
type Warm struct {
	// Background is that nobody waits for it: it yields to all that runs, and is not made while another is.
	Background bool `json:"background"`
}

// Warmed answers OpWarm.
type Warmed struct {
	Template string `json:"template"`
	Bytes    int64  `json:"bytes"`
}
