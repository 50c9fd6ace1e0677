package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// ttyGroup is the group that terminals belong to, on Debian and elsewhere.
const ttyGroup = 5

// exec runs one command, and everything that it starts, in a session and a cgroup of their own.
func (a *Agent) exec(ctx context.Context, e link.Exec, stream *wire.Stream) (any, error) {
	who, err := a.ready()
	if err != nil {
		return nil, err
	}
	if err := a.machine.catchUp(e.ClockNS); err != nil {
		return nil, err
	}
	if e.User != "" {
		if who, err = lookUp(e.User); err != nil {
			return nil, &link.Error{Code: link.CodeInvalid, Message: err.Error()}
		}
	}
	argv, shell := process.Argv(e.Argv, keepPath(e.Command, process.Environment(a.env, e.Env)), a.shell())
	if len(argv) == 0 {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "no command is given"}
	}
	vars := [][]string{a.env, e.Env, e.Secrets}
	if t := e.Terminal; t != nil {
		vars = [][]string{a.env, process.TerminalEnv(t.Type, t.Locale), e.Env, e.Secrets}
	}
	c := &command{
		agent: a,
		exec:  e,
		who:   who,
		shell: shell,
		run:   process.Command{Argv: argv, Env: who.environ(vars...), Dir: e.WorkDir},
	}
	if !filepath.IsAbs(c.run.Dir) {
		c.run.Dir = filepath.Join(a.workDir, c.run.Dir)
	}
	return a.commands.Exec(ctx, e, stream, c.do)
}

// keepPath puts the PATH that the environment's image asks for before a command line: the profile that a
// login shell reads first would set it to the system's own.
func keepPath(line string, env []string) string {
	if line == "" {
		return ""
	}
	for _, v := range env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			return "export PATH='" + strings.ReplaceAll(path, "'", `'\''`) + "'; " + line
		}
	}
	return line
}

// command is one command while it runs.
type command struct {
	agent  *Agent
	exec   link.Exec
	who    account
	shell  string // that runs it, if it is a command line
	run    process.Command
	known  *link.Command
	group  group
	child  *child
	input  *os.File // the agent's end of its standard input, nil if it has none
	output []*process.Output

	terminal *process.Terminal // nil if it has none; it is its input, too
}

// do runs the command to its end.
func (c *command) do(ctx context.Context, known *link.Command) (link.ExecResult, error) {
	var err error
	c.known = known
	if c.group, err = c.agent.group(); err != nil {
		return link.ExecResult{}, err
	}
	defer func() { go c.group.close() }() // Nobody need wait for that.
	if err := c.start(); err != nil {
		return c.cannotRun(err)
	}
	handle := link.Process{Signal: c.signal}
	switch {
	case c.terminal != nil:
		handle.Input, handle.EndInput = c.terminal, c.terminal.EndInput
		handle.Resize = func(s link.Size) error { return c.terminal.Resize(s.Rows, s.Cols) }
		defer c.terminal.Close()
	case c.input != nil:
		handle.Input, handle.Reads = c.input, c.awaitReader
		defer c.input.Close()
	}
	known.Started(handle)
	var limit <-chan time.Time
	if c.exec.TimeoutMS > 0 {
		timer := time.NewTimer(time.Duration(c.exec.TimeoutMS) * time.Millisecond)
		defer timer.Stop()
		limit = timer.C
	}
	result := link.ExecResult{Shell: c.shell}
	select {
	case status := <-c.child.ended:
		result.ExitCode = process.ExitCode(status)
	case <-limit:
		c.terminate()
		result.ExitCode, result.TimedOut = process.ExitTimeout, true
	case <-ctx.Done():
		c.kill()
		return result, ctx.Err()
	}
	for _, o := range c.output {
		_ = o.End()
	}
	if result.ExitCode != 0 {
		result.OOM, result.DiskFull = c.group.ranOut(), diskFull()
	}
	return result, nil
}

// terminate ends the command at its limit: politely first, if there is time for that.
func (c *command) terminate() {
	if c.exec.GraceMS > 0 && c.signal(syscall.SIGTERM) == nil {
		select {
		case <-c.child.ended:
		case <-time.After(time.Duration(c.exec.GraceMS) * time.Millisecond):
		}
	}
	c.kill()
}

// kill ends the command with all that it started, and waits for it.
func (c *command) kill() {
	for {
		if err := c.group.kill(); err != nil {
			die(fmt.Errorf("a command cannot be killed: %w", err))
		}
		select {
		case <-c.child.ended:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// signal sends a signal to the command's process group. A kill reaches everything that it has started.
func (c *command) signal(s syscall.Signal) error {
	if s == syscall.SIGKILL {
		return c.group.kill()
	}
	if c.terminal != nil {
		return c.child.signal(c.terminal.Foreground(), s)
	}
	return c.child.signal(0, s)
}

// start starts the process with its streams.
func (c *command) start() error {
	path, err := c.run.Find()
	if err != nil {
		return err
	}
	var ends []*os.File
	defer func() {
		for _, f := range ends {
			f.Close()
		}
	}()
	sys := &syscall.SysProcAttr{Setsid: true, Credential: c.who.credential()}
	files := []uintptr{c.agent.null.Fd()}
	if c.exec.Terminal != nil {
		size := c.exec.Terminal
		terminal, childEnd, err := process.NewTerminal(size.Rows, size.Cols, int(c.who.uid), ttyGroup)
		if err != nil {
			return err
		}
		c.terminal, ends = terminal, append(ends, childEnd)
		c.output = append(c.output, process.NewTerminalOutput(terminal, c.known.Output(link.KindStdout)))
		files = []uintptr{childEnd.Fd(), childEnd.Fd(), childEnd.Fd()}
		sys.Setctty = true
		return c.fork(path, &syscall.ProcAttr{
			Dir:   c.run.Dir,
			Env:   c.run.Env,
			Files: files,
			Sys:   sys,
		})
	}
	if c.exec.Stdin {
		childEnd, parentEnd, err := process.NewInput(true)
		if err != nil {
			return err
		}
		c.input, ends, files[0] = parentEnd, append(ends, childEnd), childEnd.Fd()
	}
	for _, kind := range []uint8{link.KindStdout, link.KindStderr} {
		output, childEnd, err := process.NewOutput(c.known.Output(kind))
		if err != nil {
			return err
		}
		ends, files = append(ends, childEnd), append(files, childEnd.Fd())
		c.output = append(c.output, output)
	}
	if line := len(c.run.Argv) - 1; c.shell != "" && len(c.run.Argv[line]) > process.LongestLine {
		script, err := scriptOf(c.run.Argv[line])
		if err != nil {
			return err
		}
		ends, files = append(ends, script), append(files, script.Fd())
		c.run.Argv = []string{c.run.Argv[0], "-l", "/proc/self/fd/3"}
	}
	return c.fork(path, &syscall.ProcAttr{
		Dir:   c.run.Dir,
		Env:   c.run.Env,
		Files: files,
		Sys:   sys,
	})
}

// scriptOf makes a file, which is nowhere on the disk, of a command line that is too long for an argument. It
// is the shell's file 3, which what it starts does not inherit.
func scriptOf(line string) (*os.File, error) {
	fd, err := unix.MemfdCreate("command", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "command")
	if _, err := f.WriteString("exec 3<&-; " + line + "\n"); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// fork starts the process in the command's group.
func (c *command) fork(path string, attr *syscall.ProcAttr) (err error) {
	c.group.join(attr.Sys)
	c.child, err = c.agent.start.start(path, c.run.Argv, attr)
	switch {
	case err == nil:
		c.group.started(c.child.pid)
	case c.terminal != nil:
		c.terminal.Close()
	case c.input != nil:
		c.input.Close()
	}
	return err
}

// cannotRun is how a shell ends if the program is not to be had.
func (c *command) cannotRun(err error) (link.ExecResult, error) {
	code, line, ok := c.run.Refused(err)
	if !ok {
		return link.ExecResult{}, fmt.Errorf("cannot run %q: %w", c.run.Argv[0], err)
	}
	if c.known.Exec().Terminal != nil {
		line = strings.ReplaceAll(line, "\n", "\r\n") // The caller's is in raw mode.
	}
	_, err = c.known.Output(link.KindStderr).Write([]byte(line))
	return link.ExecResult{ExitCode: code}, err
}

// diskFull tells whether there is no room left, but for less than a file of any use takes. What the file
// system keeps back for itself counts as taken, for root as well: a scratch disk has no blocks that are
// root's alone.
func diskFull() bool {
	const useless = 64 << 10
	var st unix.Statfs_t
	if unix.Statfs("/", &st) != nil {
		return false
	}
	return st.Bavail*uint64(st.Bsize) < useless || st.Ffree == 0 && st.Files > 0
}

func isNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
