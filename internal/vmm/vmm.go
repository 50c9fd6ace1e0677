// Package vmm says what a guest needs of the program that runs it (a VMM): start a machine, know when and
// why it ended, end it, and, if the VMM can, freeze it into a template.
//
// A driver is one VMM (QEMU, say) behind the [Driver] interface. Its contract stands in the comments
// here and is checked by the suite in vmmtest, which each driver must pass.
package vmm

import (
	"context"
	"io"
	"os"
)

// Driver is one kind of VMM. It holds no machines: what it starts belongs to the caller.
type Driver interface {
	// Name is the driver's stable, lower-case name, as in "qemu".
	Name() string

	// Abilities says what machines of this driver can do beside running. It is the same at all times.
	Abilities() Abilities

	// Fingerprint names all that a frozen state depends on beside the Spec: the VMM's version, its
	// machine and its CPU model. A state frozen under one fingerprint must not be loaded under another.
	// It fails with [ErrMissing] or [ErrTooOld] if the VMM cannot be used at all.
	Fingerprint(ctx context.Context, accelerator Accelerator) (string, error)

	// Accelerator chooses how guests run on this host. For [Auto] it is [KVM] only if boot, which the
	// caller passes and which boots a real guest with the accelerator that it is given, has once succeeded
	// on it; the verdict is remembered for this boot of the host. For [KVM] it fails with the reason if
	// KVM is no use.
	Accelerator(ctx context.Context, want Accelerator, boot Boot) (Choice, error)

	// Start starts a machine and returns once the VMM runs with everything in spec in its hands: the
	// guest boots, or with spec.Incoming goes on, by itself. The context bounds the start, not the
	// machine's life. The files in spec stay the caller's, who may close them once Start has returned.
	// If Start fails nothing is left running.
	//
	// The machine does not outlive this process, however it ends.
	Start(ctx context.Context, spec Spec) (Machine, error)
}

// Abilities is what not every VMM can. What is not declared here is not asked for.
type Abilities struct {
	Freeze   bool // its machines are a [Freezer], and start from what that has left
	Snapshot bool // its machines are a [Snapshotter]
	Network  bool // [Spec].Network
	// Boxed is that the guest's kernel is the VMM itself: there is no Kernel, the Initrd and the first
	// disk are EROFS images that can be mapped, and the Cmdline is for the agent, which finds the link open.
	// A second disk is what was kept of a disk that is memory.
	Boxed bool
	VCPUs int // the most that a machine may have; 0 is no limit
}

// Boot boots a guest with the accelerator given, and reports why that failed.
type Boot func(ctx context.Context, accelerator Accelerator) error

// Machine is one running machine, with one owner who calls Kill at the latest when it is of no more use.
// Its methods may be called from any goroutine.
type Machine interface {
	// PID is the process id of the VMM.
	PID() int

	// Link is the connection to the guest's agent, from the moment on at which the machine was started. It
	// is the caller's to close, and ends when the machine does.
	Link() io.ReadWriteCloser

	// Done is closed when the VMM has ended, has been reaped, and has left nothing behind.
	Done() <-chan struct{}

	// Err says why the machine ended, once Done is closed: nil if the guest ended it by itself (be it in
	// a panic: that is on the console), [ErrKilled] after Kill, else what went wrong in one sentence.
	// Before that it is nil. If the first process of a boxed guest fails, that has its last words.
	Err() error

	// Kill ends the machine at once and returns when Done is closed. What the guest had not flushed to a
	// durable disk is lost. On a machine that has ended it does nothing.
	Kill() error
}

// Freezer is the ability of a [Machine] to be made a template. It needs a Spec whose Memory is shared.
type Freezer interface {
	// Freeze stops the guest and writes the state of its devices to state; the guest's memory is in
	// Spec.Memory's file. The machine stays stopped for good: kill it, then its memory, disks and
	// state may be cloned. After a failure, too, the machine is of no more use.
	Freeze(ctx context.Context, state *os.File) error
}

// Checkpointer is the ability of a [Machine] that was frozen to be kept with its VMM: who starts from that
// has no VMM to wait for that starts, and one that knows the guest's code already.
type Checkpointer interface {
	// Checkpoint writes the VMM to an empty file that may be executed, for package checkpoint to tell whether
	// it fits. The machine is of no more use afterwards, also if it fails, as it does on hosts that have no
	// means for it. What a checkpoint is to go on from, disks and all, must flush to the host's disk.
	Checkpoint(ctx context.Context, to *os.File) error
}

// Snapshotter is the ability of a [Machine] to be kept as it is at one moment while it goes on. It needs a
// Spec whose Memory is not shared.
type Snapshotter interface {
	// Snapshot keeps the guest as it is at one moment, for which it stands still. A machine goes on from
	// there that is started with a Spec as this one's, but for the files themselves: the same Memory.Path
	// with to.Memory as its Overlay (or, if there was none, to.Memory's path alone), and to.State as
	// Incoming. This machine goes on, too, also if Snapshot fails, unless to.Stay is set and it does not.
	Snapshot(ctx context.Context, to Snapshot) error
}

// Snapshot says where a [Snapshotter] puts what it keeps.
type Snapshot struct {
	Memory *os.File     // the pages that the guest has written, in their places of a sparse file
	State  *os.File     // the devices
	Ahead  func() error // called first, while the guest runs, to keep of its disks what can be; may be nil
	Settle func() error // called while the guest still runs, just before it stands still; may be nil
	// Still is called while the guest stands still, for its disks, and told whether they may have changed
	// since Ahead was called; it may be nil.
	Still func(changed bool) error
	Stay  bool // the guest is not to go on: the machine is only to be killed
}

// Mortal is the ability of a [Machine] to tell that its VMM was killed though it has not ended yet.
type Mortal interface {
	// Dying tells it from the moment on at which whoever killed the VMM knows. It takes some milliseconds
	// to end, in which it takes what it is sent, and does nothing with it.
	Dying() bool
}

// Confined is the ability of a [Machine] to tell what its VMM is confined by.
type Confined interface {
	// Confinement says in one line for people what is confined, then what is not and why.
	Confinement() string
}

// Watcher is the ability of a [Machine] to tell what happens in it.
type Watcher interface {
	// Events has what happened in the machine, in order. It is closed when Done is. A reader who is slow
	// loses the newest events rather than holding up the machine.
	Events() <-chan Event
}

// Event is something that happened in a machine.
type Event struct {
	Kind   EventKind
	Detail string // for people: the disk and the error, say; may be empty
}

// EventKind says what sort of thing happened.
type EventKind string

const (
	// Shutdown: the guest ended itself, by a reboot or a power-off.
	Shutdown EventKind = "shutdown"
	// Panic: the guest's kernel said so through a device made for it.
	Panic EventKind = "panic"
	// DiskError: the host failed to read or write a disk, by far most often because it is full. The
	// guest is told too, as an I/O error.
	DiskError EventKind = "disk_error"
)
