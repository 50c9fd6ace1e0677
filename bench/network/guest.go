package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
)

// gateway stands for the host's loopback in a guest.
const gateway = "192.0.0.1"

// guest is the task that the client runs in.
type guest struct {
	p     *pyro.Pyro
	task  pyro.Task
	host  *servers
	state string
}

// memory is the supervisor's resident memory.
type memory struct {
	Connections int   `json:"connections"`
	IdleBytes   int64 `json:"idle_bytes"`
	OpenBytes   int64 `json:"open_bytes"`
}

func startGuest(ctx context.Context, s settings, host *servers) (*guest, error) {
	command, err := filepath.Abs(s.pyro)
	if err != nil {
		return nil, err
	}
	seed, err := os.MkdirTemp("", "bench-network-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(seed)
	if err := selfCopy(seed); err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp("", "bench-network-state-")
	if err != nil {
		return nil, err
	}
	g := &guest{host: host, state: state}
	if g.p, err = pyro.New(pyro.WithCommand(command), pyro.WithStateDir(state)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(state))
	}
	var allow []string
	for port := range strings.SplitSeq(host.ports(), ",") {
		allow = append(allow, "127.0.0.1:"+port)
	}
	g.task, err = g.p.CreateTask(ctx, pyro.CreateTaskRequest{SourcePath: seed,
		Shape: pyro.Shape{
			Environment: s.environment,
			VCPUCount:   s.vcpus,
			TTLSeconds:  new(3600),
			Allow:       allow,
		}})
	if err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *guest) close() {
	if g.task.TaskID != "" {
		if _, err := g.p.DeleteTask(context.Background(),
			pyro.TaskRequest{TaskID: g.task.TaskID}); err != nil {
			fmt.Fprintln(os.Stderr, "bench/network:", err)
		}
	}
	g.p.Close()
	os.RemoveAll(g.state)
}

func (g *guest) exec(ctx context.Context, words []string, streams pyro.Streams) (pyro.Output, error) {
	r, err := g.p.ExecTask(ctx, pyro.ExecTaskRequest{TaskID: g.task.TaskID, CommandLine: pyro.CommandLine{
		Argv: append([]string{"/workspace/client"}, words...), TimeoutSeconds: new(600), Streams: streams}})
	if err == nil && r.ExitCode != 0 {
		err = fmt.Errorf("the client ended with %d: %s%s", r.ExitCode, r.Stderr, r.Notice)
	}
	return r.Output, err
}

// run does one measure in the guest.
func (g *guest) run(ctx context.Context, m mode, seconds float64) (float64, error) {
	out, err := g.exec(ctx, m.words(gateway, g.host.ports(), seconds), pyro.Streams{})
	if err != nil {
		return 0, err
	}
	return readFigure(out.Stdout)
}

// hold measures the supervisor before and while the guest has connections open.
func (g *guest) hold(ctx context.Context, connections int) (*memory, error) {
	pid, err := g.supervisor()
	if err != nil {
		return nil, err
	}
	m := &memory{Connections: connections}
	if m.IdleBytes, err = resident(pid); err != nil {
		return nil, err
	}
	in, release := io.Pipe()
	out, said := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := g.exec(ctx, mode{word: "hold", workers: connections}.words(gateway, g.host.ports(), 0),
			pyro.Streams{Stdin: in, Stdout: said})
		said.CloseWithError(io.EOF)
		ended <- err
	}()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		release.Close()
		return nil, errors.Join(errors.New("the client did not open them"), <-ended)
	}
	m.OpenBytes, err = resident(pid)
	if open := g.host.echoes.Load(); open < int64(connections) {
		err = errors.Join(err, fmt.Errorf("only %d connections are open", open))
	}
	release.Close()
	return m, errors.Join(err, <-ended)
}

// supervisor finds the process that supervises the task, by its arguments.
func (g *guest) supervisor() (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		words := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
		if err != nil || len(words) != 3 || words[1] != "supervise" ||
			filepath.Base(words[2]) != g.task.TaskID {
			continue
		}
		return strconv.Atoi(filepath.Base(filepath.Dir(file)))
	}
	return 0, fmt.Errorf("no supervisor of %s found", g.task.TaskID)
}

// resident reads a process' resident memory once it has stopped changing: the least of a second.
func resident(pid int) (least int64, err error) {
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		_, after, _ := strings.Cut(string(data), "VmRSS:")
		var kib int64
		if _, err := fmt.Sscan(after, &kib); err != nil {
			return 0, err
		}
		if least == 0 || kib<<10 < least {
			least = kib << 10
		}
	}
	return least, nil
}
