package vmm

import "errors"

// What callers may act on. Each is found with errors.Is below a sentence that says more.
var (
	// ErrMissing is that the VMM is not installed.
	ErrMissing = errors.New("not installed")
	// ErrTooOld is that the VMM is of a version that cannot do what is needed.
	ErrTooOld = errors.New("too old")
	// ErrNoMemory is that the host has not enough memory for the guest.
	ErrNoMemory = errors.New("not enough memory on the host")
	// ErrKVM is that KVM was asked for and cannot be used.
	ErrKVM = errors.New("kvm cannot be used")
	// ErrCheckpoint is that a VMM cannot be kept in a checkpoint on this host, or did not go on from it, but
	// ended by itself.
	ErrCheckpoint = errors.New("a checkpoint is of no use")
	// ErrKilledOutside is how a machine ends whose VMM somebody else has killed: often the host, for want
	// of memory.
	ErrKilledOutside = errors.New("killed from outside")
	// ErrKilled is how a machine ends that its owner has killed.
	ErrKilled = errors.New("killed")
)

// A Hinter is an error that knows what the user could do about it.
type Hinter interface {
	error
	// Hint is one or more sentences for people: what to do.
	Hint() string
}
