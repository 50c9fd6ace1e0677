// Package link is what may be asked of a VM: the messages and the client, spoken on both hops
// (face to supervisor, supervisor to agent).
//
// A conversation is one wire stream. The asking side sends a [Request] as a control message, then raw data
// messages where the operation takes input. The answering side sends data messages and ends with exactly one
// [Reply]. A stream that ends without a Reply means that the other side died.
package link

import (
	"encoding/json"
	"strings"
)

// Version is the protocol's version. Both ends send it in the greeting of a connection (see [Hello]).
const Version = 1

// Words on the kernel's command line tell the agent of what it has to know before it can be spoken to.
const (
	WordNetwork = "pyro.network=1" // there is a network device
	WordWarm    = "pyro.warm=1"    // it is to run its cold code once before it is frozen
)

// Workspace is the directory in the guest that a seed fills and in which commands run unless they say otherwise.
const Workspace = "/workspace"

// The execution modes: how commands are executed, in the contract's words.
const (
	ModeGuest      = "guest"
	ModeHostCompat = "host_compat"
)

// Op names an operation.
type Op string

// The operations. The agent answers those up to OpShutdown; the supervisor answers what concerns the VM as a
// whole and passes the rest on. An operation that the answering side does not know gets [CodeUnsupported].
const (
	OpHello     Op = "hello"     // Empty -> Hello
	OpConfigure Op = "configure" // Configure -> Configured: once, before any other operation
	OpExec      Op = "exec"      // Exec, stdin data -> stdout and stderr data, ExecResult
	OpImport    Op = "import"    // Import, data of package archive -> ImportResult
	OpExport    Op = "export"    // Empty -> tar data, Empty: what differs from the base image, OCI whiteouts
	OpSync      Op = "sync"      // Empty -> Empty: all file systems written out
	OpShutdown  Op = "shutdown"  // Empty -> Empty, then the guest powers off

	OpCreate  Op = "create"  // the VM's record as wanted -> as it is: the first request to a new supervisor
	OpResume  Op = "resume"  // Empty -> the VM's record: the first request to one that takes over a stopped VM
	OpStatus  Op = "status"  // Empty -> the VM's record
	OpStart   Op = "start"   // Empty -> the VM's record
	OpStop    Op = "stop"    // Empty -> the VM's record
	OpDelete  Op = "delete"  // Empty -> Empty
	OpSeeded  Op = "seeded"  // Seeded -> the VM's record: creation is complete
	OpFollow  Op = "follow"  // Empty -> Event in each data message, until the VM ends
	OpWarm    Op = "warm"    // Empty -> Warmed: make a template of this VM's shape
	OpNetwork Op = "network" // Empty -> the network's state
)

// Kinds of message on a stream, in the numbering of package wire.
const (
	KindControl = 1 // JSON: a Request or a Reply
	KindStdin   = 2
	KindStdout  = 3
	KindStderr  = 4
	KindData    = 5 // a tree
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

// Hello tells who answers.
type Hello struct {
	Version int    `json:"version"`
	Build   string `json:"build"` // digest or version of the program that answers
}

// Configure makes a freshly booted, or freshly cloned, guest a machine of its own. It is sent exactly once to
// each machine before anything runs in it.
type Configure struct {
	Hostname  string   `json:"hostname"`
	MachineID string   `json:"machine_id"` // 32 lower-case hex digits
	Entropy   []byte   `json:"entropy"`    // at least 32 random bytes, credited to the kernel's generator
	ClockNS   int64    `json:"clock_ns"`   // wall clock, nanoseconds since 1970 UTC, when the message was sent
	Env       []string `json:"env"`        // the environment's own variables, over the agent's defaults
	User      string   `json:"user"`       // who runs commands: name, uid, or either with :group; empty is root
	WorkDir   string   `json:"work_dir"`   // default working directory, made if missing; empty is /workspace
	Network   *Network `json:"network,omitempty"`
}

// Network is the guest's static network configuration.
type Network struct {
	MAC     string `json:"mac"`     // of the device to configure
	Address string `json:"address"` // in CIDR notation
	Gateway string `json:"gateway"`
	DNS     string `json:"dns"`
	MTU     int    `json:"mtu"`
}

// Configured answers Configure.
type Configured struct {
	Kernel string `json:"kernel"` // uname -r
	BootID string `json:"boot_id"`
}

// Exec asks for one command. Exactly one of Command and Argv is set.
type Exec struct {
	Command   string   `json:"command,omitempty"` // a shell command line, run by /bin/sh -lc
	Argv      []string `json:"argv,omitempty"`
	Env       []string `json:"env,omitempty"`      // over the configured variables
	WorkDir   string   `json:"work_dir,omitempty"` // empty is the configured one
	TimeoutMS int64    `json:"timeout_ms"`         // 0 is none
	Stdin     bool     `json:"stdin"`              // stdin messages follow, up to the stream's end
	Last      bool     `json:"last,omitempty"`     // for the supervisor: the VM goes when this connection does
}

// Line is the command as a person would type it.
func (e Exec) Line() string {
	if e.Command != "" {
		return e.Command
	}
	words := make([]string, len(e.Argv))
	for i, w := range e.Argv {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}

// quote gives a word that a shell reads as itself.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,+@%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// ExecResult ends an Exec.
type ExecResult struct {
	ExitCode   int   `json:"exit_code"` // as a shell gives: 128+n for signal n, 124 for a time-out
	TimedOut   bool  `json:"timed_out,omitempty"`
	OOM        bool  `json:"oom,omitempty"`       // the kernel killed something of the command for memory
	DiskFull   bool  `json:"disk_full,omitempty"` // the guest's disk has no room left
	DurationMS int64 `json:"duration_ms"`

	// What follows is the supervisor's to set.
	Sequence int    `json:"sequence,omitempty"`
	Mode     string `json:"mode,omitempty"`   // the execution mode
	Notice   string `json:"notice,omitempty"` // pyro's own word on how the command ended
	Cause    Cause  `json:"cause,omitempty"`  // what the notice is about
}

// Import asks for a tree to be written. It follows as package archive packs it, up to the stream's end.
type Import struct {
	Destination string `json:"destination"` // absolute; made if missing
	MaxEntries  int64  `json:"max_entries"`
	MaxBytes    int64  `json:"max_bytes"`
	Spooled     bool   `json:"spooled,omitempty"` // the data are places in the spool: the supervisor's to set
}

// ImportResult ends an Import.
type ImportResult struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
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

// Warmed answers OpWarm.
type Warmed struct {
	Template string `json:"template"`
	Bytes    int64  `json:"bytes"`
}
