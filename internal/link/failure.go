package link

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Code says what kind of failure an [Error] is, for those who have a choice. The set is closed: what is not
// in it is read as CodeInternal.
type Code string

// The codes.
const (
	CodeInternal    Code = "internal"
	CodeUnsupported Code = "unsupported" // the operation is not known to this side
	CodeInvalid     Code = "invalid"     // the request makes no sense
	CodeNotFound    Code = "not_found"   // what the request names is not there
	CodeState       Code = "state"       // not in this state of the VM
	CodeBadSeed     Code = "bad_seed"    // the imported tree was refused
	CodeNoSpace     Code = "no_space"    // a disk, the guest's or the host's, is full
	CodeLimit       Code = "limit"       // a configured limit is reached
	CodeGuestLost   Code = "guest_lost"  // the guest died while the operation ran
	CodeUnavailable Code = "unavailable" // no guest can be had
)

// guestCodes are what a guest may say of itself. The others are about a guest, and for its supervisor to say.
var guestCodes = []Code{CodeInternal, CodeUnsupported, CodeInvalid, CodeNotFound, CodeState, CodeBadSeed,
	CodeNoSpace, CodeLimit}

// supervisorCodes are what a supervisor says besides.
var supervisorCodes = []Code{CodeGuestLost, CodeUnavailable}

// Cause says what lies behind an Error's code, for the faces, which word the remedies. Only a supervisor
// names one.
type Cause string

// The causes. An empty one is none that a remedy is known for.
const (
	CauseCallerGone  Cause = "caller_gone"  // whoever asked went away
	CauseGuestEnded  Cause = "guest_ended"  // the guest ended by itself
	CauseGuestStuck  Cause = "guest_stuck"  // the guest did not answer in time
	CauseProtocol    Cause = "protocol"     // the guest broke the protocol's rules
	CauseGuestMemory Cause = "guest_memory" // the guest has too little memory
	CauseHostMemory  Cause = "host_memory"  // the host has not the memory that the guest is to have
	CauseGuestDisk   Cause = "guest_disk"   // the guest's disk is full
	CauseHostDisk    Cause = "host_disk"    // the host's disk is full or fails
	CauseNoAgent     Cause = "no_agent"     // this pyro was built without its guest agent
	CauseDamaged     Cause = "damaged"      // what the guest boots from is not what was installed
	CauseNoVMM       Cause = "no_vmm"       // the VMM's program is missing, or is of no use here
	CauseNoKVM       Cause = "no_kvm"       // KVM was asked for and cannot be used
	CausePort        Cause = "port"         // a port of the host is taken
	CauseNotStarted  Cause = "not_started"  // the VM is not started
	CauseDeleted     Cause = "deleted"      // the VM is being deleted
	CauseTimeout     Cause = "timeout"      // the command was ended at its limit
	// The VMM was killed from outside, perhaps by the host for want of memory
	CauseKilled  Cause = "killed"
	CausePanic   Cause = "panic"   // the guest's kernel gave up
	CausePaused  Cause = "paused"  // the task was paused
	CauseStopped Cause = "stopped" // somebody stopped or deleted the VM
	// A task cannot go back to a snapshot: it is another's, or of the other execution mode
	CauseOtherSnapshot Cause = "other_snapshot"
)

// causes lists each cause once.
var causes = []Cause{
	CauseCallerGone, CauseGuestEnded, CauseGuestStuck, CauseProtocol, CauseGuestMemory, CauseHostMemory,
	CauseGuestDisk,
	CauseHostDisk, CauseNoAgent, CauseNoVMM, CauseDamaged,
	CausePort, CauseNotStarted, CauseDeleted, CauseTimeout,
	CauseKilled, CausePanic, CauseStopped, CausePaused, CauseNoKVM, CauseOtherSnapshot,
}

// Causes lists every cause there is.
func Causes() []Cause { return slices.Clone(causes) }

// Error is a failure as it crosses a hop. Message is one sentence in the form of our errors.
type Error struct {
	Code    Code   `json:"code"`
	Cause   Cause  `json:"cause,omitempty"`
	Message string `json:"message"`
	// AVMM's own: which of the host's packages it is in, say; never taken from a guest
	Hint  string `json:"hint,omitempty"`
	Facts Facts  `json:"facts,omitzero"` // a supervisor's
}

// Facts are the figures behind an [Error], for those who word it in their own way. Zero is none.
type Facts struct {
	HaveMiB int64 `json:"have_mib,omitempty"` // there is
	WantMiB int64 `json:"want_mib,omitempty"` // there should be
}

func (e *Error) Error() string { return e.Message }

// fromSupervisor makes what a supervisor said fit to be passed on.
func (e *Error) fromSupervisor() {
	if !slices.Contains(guestCodes, e.Code) && !slices.Contains(supervisorCodes, e.Code) {
		e.Code = CodeInternal
	}
	if !slices.Contains(causes, e.Cause) {
		e.Cause = ""
	}
	e.Message, e.Hint = printable(e.Message), printable(e.Hint)
	if e.Message == "" {
		e.Message = "the other side failed without a reason"
	}
}

// fromGuest makes what a guest said recognizable as its own words: it may say anything, and people and models
// act on what pyro says.
func (e *Error) fromGuest() {
	if !slices.Contains(guestCodes, e.Code) {
		e.Code = CodeInternal
	}
	e.Cause, e.Hint, e.Facts = "", "", Facts{}
	said := strings.ReplaceAll(printable(e.Message), `"`, "'")
	if said == "" {
		e.Message = "the guest failed without a reason"
		return
	}
	e.Message = `the guest says "` + said + `"`
}

// lost turns the end of a stream without a reply into an Error.
func lost(err error) error {
	if errors.Is(err, wire.ErrTooMany) {
		return &Error{Code: CodeLimit, Message: "too many operations at once"}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &Error{Code: CodeGuestLost, Message: fmt.Sprintf("the other side is gone: %v", err)}
}

const longestMessage = 4 << 10

// printable keeps a foreign text short and free of control characters.
func printable(s string) string {
	if len(s) > longestMessage {
		s = s[:longestMessage] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
