package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

// Exit statuses of pyro itself. A command that ran in a guest gives its own instead, so that of commands
// that run one there, pyro's failures have a status that is seldom a command's own, as with container
// tools.
const (
	exitFailure    = 1
	exitUsage      = 2
	exitRunFailure = 125
)

// runs marks the commands whose exit status is that of a command in a guest.
const runs = "runs a command"

func runsCommand(cmd *cobra.Command) { cmd.Annotations = map[string]string{runs: ""} }

// failureStatus is the exit status of pyro's own failures in a command.
func failureStatus(called *cobra.Command) int {
	if _, ok := called.Annotations[runs]; ok {
		return exitRunFailure
	}
	return exitFailure
}

// exitStatus ends the program with a status and without a word: the command's own, or a failed check's.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a mistake in the way that pyro was called.
type usageError struct{ message, hint string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...)}
}

// failure is an error as it is told: to a person as text, to a program by kind and exit status.
type failure struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	code    int
}

// describe is the one place where an error becomes text, hint and exit status.
func describe(ctx context.Context, called *cobra.Command, err error) failure {
	var stop interrupted
	var usage *usageError
	if errors.As(context.Cause(ctx), &stop) {
		return failure{Kind: "interrupted", Message: stop.Error(), code: 128 + int(stop.signal)}
	}
	if errors.As(err, &usage) {
		if usage.hint == "" {
			usage.hint = fmt.Sprintf("see '%s --help'", called.CommandPath())
		}
		return failure{
			Kind:    "usage",
			Message: usage.message,
			Hint:    usage.hint,
			code:    exitUsage,
		}
	}
	return failure{
		Kind:    pyro.ErrorKind(err),
		Message: oneLine(err.Error()),
		Hint:    oneLine(pyro.ErrorRemedy(err, wording())),
		code:    failureStatus(called),
	}
}

// report tells how a run of the program ended, and gives its exit status.
func (a *app) report(ctx context.Context, called *cobra.Command, err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	f := describe(ctx, called, err)
	if a.json {
		a.printJSON(map[string]failure{"error": f})
		return f.code
	}
	line := f.Message
	if !strings.HasPrefix(line, "pyro ") { // a usage error begins with the command that was called
		line = "pyro: " + line
	}
	if f.Hint != "" {
		line += "; " + f.Hint
	}
	fmt.Fprintln(a.stderr, line)
	return f.code
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
