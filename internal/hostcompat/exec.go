package hostcompat

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// exec runs one command, by the rules of a guest.
func (m *machine) exec(ctx context.Context, e link.Exec, stream *wire.Stream) (any, error) {
	argv := process.Argv(e.Argv, e.Command)
	if len(argv) == 0 {
		return nil, invalid("no command is given")
	}
	m.mu.Lock()
	dir, configured := m.workDir, m.configured
	m.mu.Unlock()
	if !configured {
		return nil, &link.Error{Code: link.CodeState, Message: "the guest is not configured yet"}
	}
	if e.WorkDir != "" {
		dir = m.place(e.WorkDir)
	}
	r := &run{machine: m, exec: e, stream: stream,
		order: order{Layers: m.settings.Layers, Places: m.own, Command: process.Command{Argv: argv, Env: m.environ(e.Env), Dir: dir}}}
	began := time.Now()
	result, err := r.do(ctx)
	result.DurationMS = time.Since(began).Milliseconds()
	return result, err
}

// run is one command while it runs.
type run struct {
	machine *machine
	exec    link.Exec
	order   order
	stream  *wire.Stream
	command *command
	output  []*process.Output
}

func (r *run) do(ctx context.Context) (link.ExecResult, error) {
	if err := r.start(); err != nil {
		return link.ExecResult{}, err
	}
	var limit <-chan time.Time
	if r.exec.TimeoutMS > 0 {
		timer := time.NewTimer(time.Duration(r.exec.TimeoutMS) * time.Millisecond)
		defer timer.Stop()
		limit = timer.C
	}
	ended := make(chan end, 1)
	go func() { ended <- r.command.wait() }()
	var result link.ExecResult
	var last end
	select {
	case last = <-ended:
		result.ExitCode = last.code
	case <-limit:
		r.machine.keepers.end(r.command)
		result.ExitCode, result.TimedOut = process.ExitTimeout, true
	case <-ctx.Done():
		r.machine.keepers.end(r.command)
		return result, ctx.Err()
	}
	for _, o := range r.output {
		_ = o.End() // Where nobody listens any more, the context has ended.
	}
	if last.line != "" {
		if err := r.stream.Send(link.KindStderr, []byte(last.line)); err != nil {
			return result, err
		}
	}
	if last.failure != "" {
		return result, errors.New(last.failure)
	}
	result.DiskFull = r.machine.diskFull()
	return result, nil
}

// start starts the command's keeper with the command's streams.
func (r *run) start() error {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	var input io.Reader
	if r.exec.Stdin {
		input = link.Reader(r.stream, link.KindStdin)
	}
	stdin, err := process.NewInput(input)
	if err != nil {
		return err
	}
	theirs = append(theirs, stdin)
	for _, kind := range []uint8{link.KindStdout, link.KindStderr} {
		output, file, err := process.NewOutput(link.Writer(r.stream, kind))
		if err != nil {
			return err
		}
		theirs = append(theirs, file)
		r.output = append(r.output, output)
	}
	r.command, _, err = r.machine.keepers.start(r.order, theirs[0], theirs[1], theirs[2])
	if err != nil {
		return err
	}
	return nil
}

// diskFull tells whether the workspace's disk has no room left.
func (m *machine) diskFull() bool {
	var st unix.Statfs_t
	return unix.Statfs(m.own.Workspace, &st) == nil && (st.Bavail == 0 || st.Ffree == 0 && st.Files > 0)
}
