package pyro

import (
	"errors"
	"fmt"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
)

// The kinds of failure in which a caller has a choice. Test for them with [errors.Is].
var (
	ErrInvalid          = errors.New("invalid argument")
	ErrNotFound         = errors.New("not found")
	ErrState            = errors.New("not in this state")
	ErrLimitReached     = errors.New("limit reached")
	ErrGuestUnavailable = errors.New("guest unavailable")
	ErrGuestLost        = errors.New("guest lost")
	ErrTimeout          = errors.New("time-out")
	ErrBadSeed          = errors.New("bad seed")
	ErrNoSpace          = errors.New("no space")
	ErrEnvironment      = errors.New("environment unavailable")
)

// ErrNoCommand is in the chain of an [ErrInvalid] about a run without a command, in an environment that has none either.
var ErrNoCommand = errors.New("no command")

// Error is a failure of pyro's own: one sentence. Kind is one of the Err values of this package, or nil. Cause says for
// programs what brought it about, as [Output].Cause does, or is empty.
type Error struct {
	Kind    error
	Message string
	Cause   string
	Hint    string // what to do about it, if that is known here
	cause   error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	var out []error
	for _, err := range []error{e.Kind, e.cause} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// ExitError is a command's own failure, where a caller asks for it with [Output.Err].
type ExitError struct{ Output Output }

func (e *ExitError) Error() string {
	return fmt.Sprintf("the command ended with exit status %d", e.Output.ExitCode)
}

// kinds pairs each kind with its stable name across faces and with its code on the link.
var kinds = []struct {
	kind error
	name string
	code link.Code
}{
	{ErrInvalid, "invalid", link.CodeInvalid},
	{ErrNotFound, "not_found", link.CodeNotFound},
	{ErrState, "state", link.CodeState},
	{ErrLimitReached, "limit_reached", link.CodeLimit},
	{ErrGuestUnavailable, "guest_unavailable", link.CodeUnavailable},
	{ErrGuestLost, "guest_lost", link.CodeGuestLost},
	{ErrTimeout, "timeout", ""},
	{ErrBadSeed, "bad_seed", link.CodeBadSeed},
	{ErrNoSpace, "no_space", link.CodeNoSpace},
	{ErrEnvironment, "environment", ""},
}

// hints say what to do about a cause.
var hints = map[link.Cause]string{
	instances.CauseNoInstance: "pyro task list shows those there are",
	instances.CauseMaxActive:  "delete one, or raise the limit with PYRO_MAX_ACTIVE_VMS or WithMaxActiveVMs",
	instances.CauseNoProgram:  "put pyro on PATH, or name it with WithCommand",
	instances.CauseBadRecord:  "delete it, or use the version of pyro that wrote it",
}

// ErrorKind names the kind of an error for faces that pass names on; "internal" where it has none.
func ErrorKind(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return k.name
		}
	}
	return "internal"
}

// ErrorKinds lists every name that [ErrorKind] may give.
func ErrorKinds() []string {
	names := []string{"internal"}
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// ErrorCause gives what brought an error about, or "".
func ErrorCause(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Cause
	}
	return ""
}

// ErrorHint gives what to do about an error, or "".
func ErrorHint(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

func invalid(format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Message: fmt.Sprintf(format, args...)}
}

// fromLink gives an error that crossed a hop its kind back, and what could not be done, unless that is "".
func fromLink(what string, err error) error {
	var far *link.Error
	if !errors.As(err, &far) {
		if what == "" {
			return err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	out := &Error{Message: far.Message, Cause: string(far.Cause), Hint: far.Hint, cause: err}
	if what != "" {
		out.Message = what + ": " + far.Message
	}
	if out.Hint == "" {
		out.Hint = hints[far.Cause]
	}
	for _, k := range kinds {
		if k.code != "" && k.code == far.Code {
			out.Kind = k.kind
		}
	}
	return out
}
