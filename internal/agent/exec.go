package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// exec runs one command, and everything that it starts, in a session and a control group of their own.
func (a *Agent) exec(ctx context.Context, e link.Exec, stream *wire.Stream) (any, error) {
	who, err := a.ready()
	if err != nil {
		return nil, err
	}
	argv := process.Argv(e.Argv, a.keepPath(e.Command))
	if len(argv) == 0 {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "no command is given"}
	}
	c := &command{agent: a, exec: e, who: who, stream: stream,
		run: process.Command{Argv: argv, Env: who.environ(a.env, e.Env), Dir: e.WorkDir}}
	if c.run.Dir == "" {
		c.run.Dir = a.workDir
	}
	started := time.Now()
	result, err := c.do(ctx)
	result.DurationMS = time.Since(started).Milliseconds()
	return result, err
}

// keepPath puts the PATH that the environment's image asks for before a command line: the profile that a login shell
// reads first would set it to the system's own.
func (a *Agent) keepPath(line string) string {
	if line == "" {
		return ""
	}
	for _, v := range a.env {
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
	run    process.Command
	stream *wire.Stream
	group  group
	input  *os.File // our end of its standard input, nil where it has none
	output []*process.Output
}

func (c *command) do(ctx context.Context) (link.ExecResult, error) {
	var err error
	if c.group, err = c.agent.group(); err != nil {
		return link.ExecResult{}, err
	}
	defer func() { go c.group.close() }() // Nobody need wait for that.
	ended, err := c.start()
	if err != nil {
		return c.cannotRun(err)
	}
	if c.input != nil {
		var feeding sync.WaitGroup
		feeding.Go(c.feed)
		defer feeding.Wait()
		defer c.input.Close()
		defer c.stream.CloseRecv()
	}
	var limit <-chan time.Time
	if c.exec.TimeoutMS > 0 {
		timer := time.NewTimer(time.Duration(c.exec.TimeoutMS) * time.Millisecond)
		defer timer.Stop()
		limit = timer.C
	}
	var result link.ExecResult
	select {
	case status := <-ended:
		result.ExitCode = process.ExitCode(status)
	case <-limit:
		c.kill(ended)
		result.ExitCode, result.TimedOut = process.ExitTimeout, true
	case <-ctx.Done():
		c.kill(ended)
		return result, ctx.Err()
	}
	for _, o := range c.output {
		_ = o.End() // Where nobody listens any more, the context has ended.
	}
	if result.ExitCode != 0 {
		result.OOM, result.DiskFull = c.group.ranOut(), diskFull(c.who)
	}
	return result, nil
}

// kill ends the command with all that it started, and waits for it.
func (c *command) kill(ended <-chan syscall.WaitStatus) {
	for {
		if err := c.group.kill(); err != nil {
			die(fmt.Errorf("a command cannot be killed: %w", err))
		}
		select {
		case <-ended:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// start starts the process with its streams.
func (c *command) start() (<-chan syscall.WaitStatus, error) {
	path, err := c.run.Find()
	if err != nil {
		return nil, err
	}
	var child []*os.File
	defer func() {
		for _, f := range child {
			f.Close()
		}
	}()
	files := []uintptr{c.agent.null.Fd()}
	if c.exec.Stdin {
		theirs, ours, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		c.input, child, files[0] = ours, append(child, theirs), theirs.Fd()
	}
	for _, kind := range []uint8{link.KindStdout, link.KindStderr} {
		output, theirs, err := process.NewOutput(link.Writer(c.stream, kind))
		if err != nil {
			return nil, err
		}
		child, files = append(child, theirs), append(files, theirs.Fd())
		c.output = append(c.output, output)
	}
	attr := &syscall.ProcAttr{Dir: c.run.Dir, Env: c.run.Env, Files: files, Sys: &syscall.SysProcAttr{
		Setsid: true, Credential: c.who.credential()}}
	c.group.join(attr.Sys)
	ended, err := c.agent.reaper.start(path, c.run.Argv, attr)
	if err != nil && c.input != nil {
		c.input.Close()
	}
	return ended, err
}

// feed passes input on to its end. A command that does not read it any more is no failure. Input that breaks off
// must not look like its end: the command is about to be killed, and its pipe is closed after that.
func (c *command) feed() {
	for {
		m, err := c.stream.Recv()
		if err == io.EOF {
			c.input.Close()
		}
		if err != nil {
			return
		}
		if m.Kind != link.KindStdin {
			continue
		}
		if _, err := c.input.Write(m.Data); err != nil {
			c.stream.CloseRecv()
			return
		}
	}
}

// cannotRun is how a shell ends where the program is not to be had.
func (c *command) cannotRun(err error) (link.ExecResult, error) {
	code, line, ok := c.run.Refused(err)
	if !ok {
		return link.ExecResult{}, fmt.Errorf("cannot run %q: %w", c.run.Argv[0], err)
	}
	if err := c.stream.Send(link.KindStderr, []byte(line)); err != nil {
		return link.ExecResult{}, err
	}
	return link.ExecResult{ExitCode: code}, nil
}

// diskFull tells whether the user has no room left, but for less than a file of any use takes.
func diskFull(who account) bool {
	const useless = 64 << 10
	var st unix.Statfs_t
	if unix.Statfs("/", &st) != nil {
		return false
	}
	free := st.Bavail
	if who.uid == 0 {
		free = st.Bfree
	}
	return free*uint64(st.Bsize) < useless || st.Ffree == 0 && st.Files > 0
}

func isNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
