package hostcompat

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// exec runs one command, by the rules of a guest.
func (m *machine) exec(ctx context.Context, e link.Exec, stream *wire.Stream) (any, error) {
	argv, shell := process.Argv(e.Argv, e.Command, process.Shell())
	if len(argv) == 0 {
		return nil, invalid("no command is given")
	}
	m.mu.Lock()
	dir, ready := m.workDir, m.ready && m.identified
	m.mu.Unlock()
	if !ready {
		return nil, &link.Error{Code: link.CodeState, Message: "the guest is not set up yet"}
	}
	if e.WorkDir != "" {
		dir = m.place(e.WorkDir)
	}
	vars := slices.Concat(e.Env, e.Secrets)
	if t := e.Terminal; t != nil {
		vars = slices.Concat(process.TerminalEnv(t.Type, t.Locale), vars)
	}
	command := process.Command{Argv: argv, Env: m.environ(vars), Dir: dir}
	r := &run{
		machine: m,
		exec:    e,
		shell:   shell,
		order:   order{Layers: m.settings.Layers, Places: m.own, Command: command},
	}
	return m.commands.Exec(ctx, e, stream, r.do)
}

// run is one command while it runs.
type run struct {
	machine *machine
	exec    link.Exec
	shell   string // that runs it, if it is a command line
	order   order
	known   *link.Command
	command *command
	output  []*process.Output

	terminal *process.Terminal // nil if it has none; it is its input, too
}

// do runs the command to its end.
func (r *run) do(ctx context.Context, known *link.Command) (link.ExecResult, error) {
	r.known = known
	input, err := r.start()
	if err != nil {
		return link.ExecResult{}, err
	}
	handle := link.Process{Signal: r.signal}
	switch {
	case r.terminal != nil:
		handle.Input, handle.EndInput = r.terminal, r.terminal.EndInput
		handle.Resize = func(s link.Size) error { return r.terminal.Resize(s.Rows, s.Cols) }
		defer r.terminal.Close()
	case input != nil:
		handle.Input = input
		defer input.Close()
	}
	known.Started(handle)
	var limit <-chan time.Time
	if r.exec.TimeoutMS > 0 {
		timer := time.NewTimer(time.Duration(r.exec.TimeoutMS) * time.Millisecond)
		defer timer.Stop()
		limit = timer.C
	}
	ended := make(chan end, 1)
	go func() { ended <- r.command.wait() }()
	result := link.ExecResult{Shell: r.shell}
	var last end
	select {
	case last = <-ended:
		result.ExitCode = last.code
	case <-limit:
		r.terminate(ended)
		result.ExitCode, result.TimedOut = process.ExitTimeout, true
	case <-ctx.Done():
		r.machine.keepers.end(r.command)
		return result, ctx.Err()
	}
	for _, o := range r.output {
		_ = o.End()
	}
	if last.line != "" {
		_, _ = known.Output(link.KindStderr).Write([]byte(last.line)) // never fails
	}
	if last.failure != "" {
		return result, errors.New(last.failure)
	}
	result.DiskFull = r.machine.diskFull()
	return result, nil
}

// terminate ends the command at its limit: politely first, if there is time for that.
func (r *run) terminate(ended <-chan end) {
	if r.exec.GraceMS > 0 && r.signal(syscall.SIGTERM) == nil {
		select {
		case <-ended:
		case <-time.After(time.Duration(r.exec.GraceMS) * time.Millisecond):
		}
	}
	r.machine.keepers.end(r.command)
}

// signal sends a signal to the command's process group. A kill reaches everything that it has started.
func (r *run) signal(s syscall.Signal) error {
	if s == syscall.SIGKILL {
		r.machine.keepers.end(r.command)
		return nil
	}
	if r.terminal != nil {
		return r.command.signal(r.terminal.Foreground(), s)
	}
	return r.command.signal(0, s)
}

// start starts the command's keeper with the command's streams, and gives the other end of its input, nil if
// it has none.
func (r *run) start() (input *os.File, err error) {
	var child []*os.File
	defer func() {
		for _, f := range child {
			f.Close()
		}
		if err != nil && input != nil {
			input.Close()
		}
	}()
	if t := r.exec.Terminal; t != nil {
		return nil, r.startInTerminal(*t)
	}
	stdin, input, err := process.NewInput(r.exec.Stdin)
	if err != nil {
		return nil, err
	}
	child = append(child, stdin)
	for _, kind := range []uint8{link.KindStdout, link.KindStderr} {
		output, file, err := process.NewOutput(r.known.Output(kind))
		if err != nil {
			return input, err
		}
		child = append(child, file)
		r.output = append(r.output, output)
	}
	r.command, _, err = r.machine.keepers.start(r.order, child[0], child[1], child[2])
	return input, err
}

// startInTerminal starts the command's keeper with a terminal.
func (r *run) startInTerminal(t link.Terminal) error {
	terminal, child, err := process.NewTerminal(t.Rows, t.Cols, os.Getuid(), os.Getgid())
	if err != nil {
		return err
	}
	defer child.Close()
	r.order.Terminal = true
	output := process.NewTerminalOutput(terminal, r.known.Output(link.KindStdout))
	r.terminal, r.output = terminal, []*process.Output{output}
	if r.command, _, err = r.machine.keepers.start(r.order, child, child, child); err != nil {
		terminal.Close()
	}
	return err
}

// diskFull tells whether the workspace's disk has no room left.
func (m *machine) diskFull() bool {
	var st unix.Statfs_t
	return unix.Statfs(m.own.Workspace, &st) == nil && (st.Bavail == 0 || st.Ffree == 0 && st.Files > 0)
}
