package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// Exit codes that a shell gives.
const (
	exitTimeout   = 124
	exitCannotRun = 126
	exitNotFound  = 127
	exitSignal    = 128
)

// exec runs one command, and everything that it starts, in a session and a control group of their own.
func (a *Agent) exec(ctx context.Context, e link.Exec, stream *wire.Stream) (any, error) {
	who, err := a.ready()
	if err != nil {
		return nil, err
	}
	argv := e.Argv
	if e.Command != "" {
		argv = []string{"/bin/sh", "-lc", e.Command}
	}
	if len(argv) == 0 {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "no command is given"}
	}
	c := &command{agent: a, exec: e, who: who, argv: argv, env: who.environ(a.env, e.Env), dir: e.WorkDir, stream: stream}
	if c.dir == "" {
		c.dir = a.workDir
	}
	started := time.Now()
	result, err := c.run(ctx)
	result.DurationMS = time.Since(started).Milliseconds()
	return result, err
}

// command is one command while it runs.
type command struct {
	agent  *Agent
	exec   link.Exec
	who    account
	argv   []string
	env    []string
	dir    string
	stream *wire.Stream
	group  *group
	output []*drain
}

func (c *command) run(ctx context.Context) (link.ExecResult, error) {
	var err error
	if c.group, err = c.agent.groups.make(); err != nil {
		return link.ExecResult{}, err
	}
	defer c.group.close()
	ended, err := c.start(ctx)
	if err != nil {
		return c.cannotRun(err)
	}
	var limit <-chan time.Time
	if c.exec.TimeoutMS > 0 {
		timer := time.NewTimer(time.Duration(c.exec.TimeoutMS) * time.Millisecond)
		defer timer.Stop()
		limit = timer.C
	}
	var result link.ExecResult
	var status syscall.WaitStatus
	select {
	case status = <-ended:
		result.ExitCode = exitCode(status)
	case <-limit:
		status = c.kill(ended)
		result.ExitCode, result.TimedOut = exitTimeout, true
	case <-ctx.Done():
		c.kill(ended)
		return result, ctx.Err()
	}
	for _, d := range c.output {
		d.finish()
	}
	result.OOM = c.group.ranOut()
	result.DiskFull = diskFull()
	return result, nil
}

// kill ends the command with all that it started, and waits for it.
func (c *command) kill(ended <-chan syscall.WaitStatus) syscall.WaitStatus {
	for {
		if err := c.group.kill(); err != nil {
			die(fmt.Errorf("a command cannot be killed: %w", err))
		}
		select {
		case status := <-ended:
			return status
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// start starts the process with its streams.
func (c *command) start(ctx context.Context) (<-chan syscall.WaitStatus, error) {
	path, err := c.find()
	if err != nil {
		return nil, err
	}
	var child []*os.File
	defer func() {
		for _, f := range child {
			f.Close()
		}
	}()
	stdin, feed, err := c.stdin()
	if err != nil {
		return nil, err
	}
	child = append(child, stdin)
	for _, kind := range []uint8{link.KindStdout, link.KindStderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		child = append(child, w)
		c.output = append(c.output, newDrain(r, link.Writer(c.stream, kind)))
	}
	attr := &syscall.ProcAttr{Dir: c.dir, Env: c.env, Sys: &syscall.SysProcAttr{
		Setsid: true, UseCgroupFD: true, CgroupFD: int(c.group.dir.Fd()),
		Credential: &syscall.Credential{Uid: c.who.uid, Gid: c.who.gid, Groups: c.who.groups},
	}}
	for _, f := range child {
		attr.Files = append(attr.Files, f.Fd())
	}
	_, ended, err := c.agent.reaper.start(path, c.argv, attr)
	if err != nil {
		if feed != nil {
			feed.Close()
		}
		return nil, err
	}
	for _, d := range c.output {
		go d.run()
	}
	if feed != nil {
		go c.feed(feed)
	}
	return ended, nil
}

// stdin gives the command's end of its input, and ours where there will be any.
func (c *command) stdin() (theirs, ours *os.File, err error) {
	if !c.exec.Stdin {
		theirs, err = os.Open(os.DevNull)
		return theirs, nil, err
	}
	return os.Pipe()
}

// feed passes input on to its end. A command that does not read it any more is no failure.
func (c *command) feed(w *os.File) {
	defer w.Close()
	for {
		m, err := c.stream.Recv()
		if err != nil {
			return
		}
		if _, err := w.Write(m.Data); err != nil {
			return
		}
	}
}

// find resolves the program's name as a shell does.
func (c *command) find() (string, error) {
	name := c.argv[0]
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			return filepath.Join(c.dir, name), nil
		}
		return name, nil
	}
	var found error = &fs.PathError{Op: "find", Path: name, Err: syscall.ENOENT}
	for _, v := range c.env {
		list, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			if err != nil || info.IsDir() {
				continue
			}
			if info.Mode()&0o111 != 0 {
				return path, nil
			}
			found = &fs.PathError{Op: "run", Path: path, Err: syscall.EACCES}
		}
	}
	return "", found
}

// cannotRun is how a shell ends where the program is not to be had.
func (c *command) cannotRun(err error) (link.ExecResult, error) {
	code, why := exitCannotRun, "cannot be executed"
	what := c.argv[0]
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		code, why = exitNotFound, "no such file or directory"
		if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
			code, what, why = exitCannotRun, c.dir, "no such working directory"
		} else if path, err := c.find(); err == nil {
			if _, err := os.Stat(path); err == nil {
				why = "its interpreter is missing"
			}
		}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EPERM):
		why = "permission denied"
		if info, err := os.Stat(what); err == nil && info.IsDir() {
			why = "it is a directory"
		}
	case errors.Is(err, unix.ENOEXEC):
		why = "not in a format that can be executed"
	case errors.Is(err, unix.E2BIG):
		why = "its arguments are too long"
	default:
		return link.ExecResult{}, fmt.Errorf("cannot run %q: %w", what, err)
	}
	message := fmt.Sprintf("pyro: cannot run %q: %s\n", what, why)
	if err := c.stream.Send(link.KindStderr, []byte(message)); err != nil {
		return link.ExecResult{}, err
	}
	return link.ExecResult{ExitCode: code}, nil
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return status.ExitStatus()
}

// diskFull tells whether the root has no room left.
func diskFull() bool {
	var st unix.Statfs_t
	return unix.Statfs("/", &st) == nil && (st.Bavail == 0 || st.Ffree == 0 && st.Files > 0)
}

func isNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
