package pyro

import (
	"context"
	"errors"
	"fmt"

	"github.com/pyro-mcp/pyro/internal/environment"
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
	ErrTimeout          = errors.New("timeout")
	ErrBadSeed          = errors.New("bad seed")
	ErrNoSpace          = errors.New("no space")
	ErrEnvironment      = errors.New("environment unavailable")
)

// ErrNoCommand is in the chain of an [ErrInvalid] about a run without a command, in an environment that has
// none either.
var ErrNoCommand = errors.New("no command")

// Error is a failure of pyro's own: one sentence. Kind is one of the Err values of this package, or nil.
// Cause says for programs what brought it about, as [Output].Cause does, or is empty.
type Error struct {
	Kind    error
	Message string
	Cause   string
	Hint    string // what to do about it, if no row of [Remedies] says it; in the form of a [Remedy]
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

// ExitError is a command's own failure, if a caller asks for it with [Output.Err].
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

// ErrorKind names the kind of an error for faces that pass names on; "internal" if it has none.
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

func invalid(format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Message: fmt.Sprintf(format, args...)}
}

// fromLink gives an error that crossed a hop its kind back, and what could not be done, unless that is "".
func fromLink(what string, err error) error {
	if err == nil {
		return nil
	}
	var far *link.Error
	if !errors.As(err, &far) {
		if what == "" {
			return err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	out := &Error{
		Message: far.Message,
		Cause:   string(far.Cause),
		Hint:    far.Hint,
		cause:   err,
	}
	if what != "" {
		out.Message = what + ": " + far.Message
	}
	for _, k := range kinds {
		if k.code != "" && k.code == far.Code {
			out.Kind = k.kind
		}
	}
	return out
}

// Err is nil for a command that ended with 0, [ErrTimeout] for one that ran out of time, else an
// [*ExitError].
func (o Output) Err() error {
	switch {
	case o.TimedOut:
		return &Error{Kind: ErrTimeout, Message: o.Notice, Cause: o.Cause}
	case o.ExitCode != 0:
		return &ExitError{Output: o}
	}
	return nil
}

// environmentError is a failure about an environment, and what could not be done, unless that is "".
func environmentError(what string, err error) error {
	out := &Error{Kind: ErrEnvironment, Message: err.Error(), cause: err}
	if what != "" {
		out.Message = fmt.Sprintf("%s: %v", what, err)
	}
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter) {
		out.Hint = hinter.Hint()
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, environment.ErrUnknown):
		out.Kind, out.Message, out.Cause = ErrNotFound, err.Error(), "unknown_environment"
	case errors.Is(err, environment.ErrNotInstalled):
		out.Kind, out.Cause = ErrNotFound, "not_installed"
	}
	return out
}
