package e2b

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// processConfig is what a process is made of.
type processConfig struct {
	Cmd  string            `json:"cmd"`
	Args []string          `json:"args,omitempty"`
	Envs map[string]string `json:"envs,omitempty"`
	Cwd  *string           `json:"cwd,omitempty"`
}

// processInfo is a process that runs. Its pid is the number of its command in the task's history.
type processInfo struct {
	Config processConfig `json:"config"`
	PID    int           `json:"pid"`
	Tag    *string       `json:"tag,omitempty"`
}

// terminal is a process's terminal.
type terminal struct {
	Size struct {
		Cols uint16 `json:"cols"`
		Rows uint16 `json:"rows"`
	} `json:"size"`
}

func (t terminal) size() pyro.TerminalSize {
	return pyro.TerminalSize{Cols: t.Size.Cols, Rows: t.Size.Rows}
}

type startRequest struct {
	Process processConfig `json:"process"`
	PTY     *terminal     `json:"pty"`
	Tag     *string       `json:"tag"`
	Stdin   *bool         `json:"stdin"`
}

// selector names a process.
type selector struct {
	PID *int    `json:"pid"`
	Tag *string `json:"tag"`
}

type processRequest struct {
	Process selector     `json:"process"`
	PTY     *terminal    `json:"pty"`
	Input   processInput `json:"input"`
	Signal  any          `json:"signal"`
}

// processInput is what is typed, or written to a process.
type processInput struct {
	Stdin []byte `json:"stdin"`
	PTY   []byte `json:"pty"`
}

type none struct{}

// startProcess starts a process and tells of it until it ends. It goes on if the client goes.
func startProcess(ctx context.Context, c *calling, r startRequest, to *stream) error {
	if r.Process.Cwd != nil && *r.Process.Cwd != "" {
		const script = `[ -d "$1" ] || { echo "cwd '$1' does not exist" >&2; exit 40; }`
		if _, err := c.script(ctx, script, absolute(*r.Process.Cwd)); err != nil {
			return err
		}
	}
	argv := c.argv(r.Process)
	var command pyro.Command
	var err error
	if r.PTY != nil {
		command, err = c.server.engine.OpenShell(ctx, pyro.OpenShellRequest{
			TaskID:       c.task.TaskID,
			Command:      "exec " + quoted(argv),
			TerminalSize: r.PTY.size(),
			Type:         r.Process.Envs["TERM"],
		})
	} else {
		command, err = c.server.engine.StartCommand(ctx, pyro.StartCommandRequest{
			TaskID:       c.task.TaskID,
			Argv:         argv,
			LimitSeconds: c.limit,
			Input:        r.Stdin == nil || *r.Stdin,
		})
	}
	if err != nil {
		return err
	}
	c.server.remember(c.task.TaskID, processInfo{Config: r.Process, PID: command.Sequence, Tag: r.Tag})
	return c.follow(ctx, command, 0, to)
}

// argv is a process's, with its variables and directory set by programs that every image has.
func (c *calling) argv(p processConfig) []string {
	envs := map[string]string{}
	for k, v := range c.task.Metadata {
		if name, ok := strings.CutPrefix(k, keyEnv); ok {
			envs[name] = v
		}
	}
	for k, v := range p.Envs {
		envs[k] = v
	}
	argv := append([]string{p.Cmd}, p.Args...)
	if len(envs) > 0 {
		var set []string
		for k, v := range envs {
			set = append(set, k+"="+v)
		}
		slices.Sort(set)
		argv = slices.Concat([]string{"env"}, set, argv)
	}
	if p.Cwd != nil && *p.Cwd != "" {
		argv = append([]string{"sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", absolute(*p.Cwd)}, argv...)
	}
	if c.user != "" && c.user != "root" {
		argv = append([]string{"su", "-m", "-s", "/bin/sh", "-c", "exec " + quoted(argv), c.user}, nil...)
	}
	return argv
}

// quoted writes words as a shell reads them.
func quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

// follow tells of a process until it ends, or the client goes.
func (c *calling) follow(ctx context.Context, command pyro.Command, cursor int64, to *stream) error {
	event := func(kind string, data any) error {
		return to.send(map[string]any{"event": map[string]any{kind: data}})
	}
	if err := event("start", map[string]any{"pid": command.Sequence}); err != nil {
		return nil
	}
	output := func(name string) eventWriter {
		if command.Terminal {
			name = "pty"
		}
		return func(data []byte) error { return event("data", map[string]any{name: data}) }
	}
	ended, err := c.server.engine.AttachCommand(ctx, pyro.AttachCommandRequest{
		CommandRequest: pyro.CommandRequest{TaskID: c.task.TaskID, CommandID: command.CommandID},
		Cursor:         cursor,
		Streams:        pyro.Streams{Stdout: output("stdout"), Stderr: output("stderr")},
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	status := 0
	if ended.ExitCode != nil {
		status = *ended.ExitCode
	}
	if ended.TimedOut {
		return &timedOut{}
	}
	end := map[string]any{"exited": status < 128, "exitCode": status, "status": "exit status"}
	if ended.Notice != "" {
		end["error"] = ended.Notice
	}
	_ = event("end", end)
	return nil
}

// timedOut says that a process was ended because its client's time was over.
type timedOut struct{}

func (timedOut) Error() string        { return "the command ran out of its time" }
func (timedOut) Is(target error) bool { return target == pyro.ErrTimeout }

// eventWriter makes events of what is written.
type eventWriter func([]byte) error

func (w eventWriter) Write(p []byte) (int, error) {
	if err := w(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// remember keeps what a process was started as, for lists.
func (s *Server) remember(id string, p processInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id] == nil {
		s.known[id] = map[int]processInfo{}
	}
	s.known[id][p.PID] = p
}

func (s *Server) recall(id string, pid int) (processInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.known[id][pid]
	return p, ok
}

// find gives the process that is meant.
func (c *calling) find(ctx context.Context, which selector) (pyro.Command, error) {
	all, err := c.server.engine.ListCommands(ctx, pyro.TaskRequest{TaskID: c.task.TaskID})
	if err != nil {
		return pyro.Command{}, err
	}
	for _, command := range all.Commands {
		if command.Ended() {
			continue
		}
		known, _ := c.server.recall(c.task.TaskID, command.Sequence)
		byTag := which.Tag != nil && known.Tag != nil && *known.Tag == *which.Tag
		if which.PID != nil && command.Sequence == *which.PID || byTag {
			return command, nil
		}
	}
	return pyro.Command{}, &statusError{http.StatusNotFound, "there is no such process"}
}

func listProcesses(ctx context.Context, c *calling, _ none) (map[string]any, error) {
	all, err := c.server.engine.ListCommands(ctx, pyro.TaskRequest{TaskID: c.task.TaskID})
	if err != nil {
		return nil, err
	}
	processes := []processInfo{}
	for _, command := range all.Commands {
		if command.Ended() {
			continue
		}
		p, ok := c.server.recall(c.task.TaskID, command.Sequence)
		if !ok {
			p = processInfo{Config: processConfig{Cmd: command.Command}, PID: command.Sequence}
		}
		processes = append(processes, p)
	}
	return map[string]any{"processes": processes}, nil
}

// connectProcess tells of a process that runs, from now on.
func connectProcess(ctx context.Context, c *calling, r processRequest, to *stream) error {
	command, err := c.find(ctx, r.Process)
	if err != nil {
		return err
	}
	return c.follow(ctx, command, -1, to)
}

// named is the process of a request.
func (c *calling) named(ctx context.Context, which selector) (pyro.CommandRequest, error) {
	command, err := c.find(ctx, which)
	return pyro.CommandRequest{TaskID: c.task.TaskID, CommandID: command.CommandID}, err
}

func updateProcess(ctx context.Context, c *calling, r processRequest) (none, error) {
	which, err := c.named(ctx, r.Process)
	if err != nil || r.PTY == nil {
		return none{}, err
	}
	_, err = c.server.engine.ResizeCommand(ctx, pyro.ResizeCommandRequest{
		CommandRequest: which,
		TerminalSize:   r.PTY.size(),
	})
	return none{}, err
}

func sendInput(ctx context.Context, c *calling, r processRequest) (none, error) {
	which, err := c.named(ctx, r.Process)
	if err != nil {
		return none{}, err
	}
	return none{}, c.write(ctx, which, r.Input, false)
}

func (c *calling) write(ctx context.Context, which pyro.CommandRequest, in processInput, end bool) error {
	_, err := c.server.engine.WriteCommand(ctx, pyro.WriteCommandRequest{
		CommandRequest: which,
		Input:          string(in.Stdin) + string(in.PTY),
		End:            end,
	})
	return err
}

func closeStdin(ctx context.Context, c *calling, r processRequest) (none, error) {
	which, err := c.named(ctx, r.Process)
	if err != nil {
		return none{}, err
	}
	return none{}, c.write(ctx, which, processInput{}, true)
}

func sendSignal(ctx context.Context, c *calling, r processRequest) (none, error) {
	which, err := c.named(ctx, r.Process)
	if err != nil {
		return none{}, err
	}
	name := "TERM"
	if r.Signal == "SIGNAL_SIGKILL" || r.Signal == float64(9) {
		name = "KILL"
	}
	_, err = c.server.engine.SignalCommand(ctx, pyro.SignalCommandRequest{
		CommandRequest: which,
		Signal:         name,
	})
	return none{}, err
}

// streamInput passes a stream of input on. The answer begins when that has ended: HTTP/1 has no more of a
// request once it is answered.
func streamInput(w http.ResponseWriter, r *http.Request, c *calling) {
	err := c.streamInput(r)
	s := newStream(w, r)
	defer s.stop()
	if err == nil {
		err = s.send(none{})
	}
	s.end(err)
}

func (c *calling) streamInput(r *http.Request) error {
	type message struct {
		Start *struct {
			Process selector `json:"process"`
		} `json:"start"`
		Data *struct {
			Input processInput `json:"input"`
		} `json:"data"`
	}
	var which pyro.CommandRequest
	for {
		m, err := receive[message](r.Body)
		if ended(err) {
			return nil
		}
		switch {
		case err != nil:
		case m.Start != nil:
			which, err = c.named(r.Context(), m.Start.Process)
		case m.Data != nil && which.CommandID == "":
			err = errors.New("input came before its process was named")
		case m.Data != nil:
			err = c.write(r.Context(), which, m.Data.Input, false)
		}
		if err != nil {
			return err
		}
	}
}
