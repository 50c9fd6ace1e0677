package pyro

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// exec runs one command over a session. If ctx ends, the command is asked to end, and given its grace to do
// so.
func (p *Pyro) exec(
	ctx context.Context, s *instances.Session, c CommandLine, last bool,
) (Output, link.ExecResult, error) {
	want, err := c.link()
	if err != nil {
		return Output{}, link.ExecResult{}, err
	}
	want.Last = last
	mask := record.NewMask(slices.Collect(maps.Values(c.Secrets)))
	var stdout, stderr record.Capture
	out, errs := mask.Writer(&stdout), mask.Writer(&stderr)
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	streams := c.Streams.link(running)
	streams.Stdout, streams.Stderr = tee(c.Streams.Stdout, out), tee(c.Streams.Stderr, errs)
	stop := context.AfterFunc(ctx, func() { endPolitely(ctx, running, cancel, s.Client, want) })
	result, err := s.Client.Exec(running, want, streams)
	stop()
	if ctx.Err() != nil {
		return Output{}, result, context.Cause(ctx)
	}
	if err != nil {
		return Output{}, result, fromLink(fmt.Sprintf("cannot run the command in %q", s.ID), err)
	}
	_, _ = out.Flush(), errs.Flush() // A capture never fails.
	return Output{
		ExitCode:        result.ExitCode,
		Stdout:          stdout.String(),
		Stderr:          stderr.String(),
		StdoutTruncated: stdout.Truncated(),
		StderrTruncated: stderr.Truncated(),
		StdoutBase64:    record.Unprintable(stdout.String()),
		StderrBase64:    record.Unprintable(stderr.String()),
		TimedOut:        result.TimedOut,
		DurationMS:      result.DurationMS,
		ExecutionMode:   result.Mode,
		Shell:           result.Shell,
		Notice:          result.Notice,
		Cause:           string(result.Cause),
	}, result, nil
}

// signalLimit bounds how long it may take to pass a signal on.
const signalLimit = 2 * time.Second

// endPolitely asks a command to end whose caller has given up, and ends it when its grace is over.
func endPolitely(
	asked, running context.Context, cancel context.CancelCauseFunc, to *link.Client, want link.Exec,
) {
	number := syscall.SIGTERM
	var signalled interface{ Signal() syscall.Signal }
	if errors.As(context.Cause(asked), &signalled) {
		number = signalled.Signal()
	}
	if want.GraceMS > 0 {
		call, done := context.WithTimeout(running, signalLimit)
		err := to.Call(call, link.OpSignal, link.Signal{ID: want.ID, Number: int(number)}, nil)
		done()
		if err == nil {
			select {
			case <-running.Done():
			case <-time.After(time.Duration(want.GraceMS) * time.Millisecond):
			}
		}
	}
	cancel(context.Cause(asked))
}

// link gives a command as it crosses the link.
func (c CommandLine) link() (link.Exec, error) {
	limit, err := c.timeout()
	if err != nil {
		return link.Exec{}, err
	}
	grace, err := c.grace()
	if err != nil {
		return link.Exec{}, err
	}
	return link.Exec{
		ID:        "call-" + rand.Text(),
		Command:   c.Command,
		Argv:      c.Argv,
		Env:       variables(c.Env),
		Secrets:   variables(c.Secrets),
		WorkDir:   c.WorkDir,
		User:      c.User,
		TimeoutMS: limit,
		GraceMS:   grace,
		Terminal:  c.Terminal.link(),
		Stdin:     c.Streams.Stdin != nil,
	}, nil
}

// variables gives variables as a process has them, sorted.
func variables(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// check refuses settings that no guest can take.
func (s CommandSettings) check() error {
	for field, value := range map[string]string{"workdir": s.WorkDir, "user": s.User} {
		if strings.ContainsRune(value, 0) {
			return invalid("%s holds a NUL", field)
		}
	}
	return checkVariables("env", s.Env)
}

// over lays the settings over those that a VM's environment brings.
func (s CommandSettings) over(vm record.VM) record.VM {
	vm.Boot.Env = slices.Concat(vm.Boot.Env, variables(s.Env))
	if s.WorkDir != "" {
		vm.Boot.WorkDir = s.WorkDir
		if !path.IsAbs(s.WorkDir) {
			vm.Boot.WorkDir = path.Join(Workspace, s.WorkDir)
		}
	}
	vm.Boot.User = cmp.Or(s.User, vm.Boot.User)
	return vm
}

func checkVariables(parameter string, env map[string]string) error {
	for name, value := range env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return invalid("%s: %.40q cannot be a variable", parameter, name)
		}
	}
	return nil
}

// grace is how long after a polite signal a command is killed, in milliseconds.
func (c CommandLine) grace() (int64, error) {
	if c.GraceSeconds == nil {
		return DefaultGraceSeconds * 1000, nil
	}
	return int64(*c.GraceSeconds) * 1000, ParameterNamed("grace_seconds").check(*c.GraceSeconds)
}

func tee(w io.Writer, capture io.Writer) io.Writer {
	if w == nil {
		return capture
	}
	return io.MultiWriter(w, capture)
}

// timeout is a command's limit in milliseconds.
func (c CommandLine) timeout() (int64, error) {
	if c.TimeoutSeconds == nil && c.Terminal != nil {
		return 0, nil
	}
	if c.TimeoutSeconds == nil {
		return DefaultTimeoutSeconds * 1000, nil
	}
	if err := ParameterNamed("timeout_seconds").check(*c.TimeoutSeconds); err != nil {
		return 0, err
	}
	return int64(*c.TimeoutSeconds) * 1000, nil
}
