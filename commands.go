package pyro

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/screen"
	"golang.org/x/sys/unix"
)

// Bounds and defaults of background commands.
const (
	defaultReadBytes    = 64 << 10
	defaultGraceSeconds = 10
	defaultReadySeconds = 60
)

// loginShell starts the shell that the guest's user has.
const loginShell = `exec "${SHELL:-/bin/sh}" -l`

// job asks a task's supervisor something about its background commands. The task's name becomes its id.
func (p *Pyro) job(ctx context.Context, task *string, op link.Op, params, result any) error {
	if err := p.resolve(task, record.KindTask); err != nil {
		return err
	}
	s, err := p.reach(ctx, *task)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Client.Call(ctx, op, params, result); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fromLink("", err)
	}
	return nil
}

// jobRecord is job for operations that are answered with one command's record.
func (p *Pyro) jobRecord(ctx context.Context, task string, op link.Op, params any) (Command, error) {
	var rec record.Job
	err := p.job(ctx, &task, op, params, &rec)
	return viewCommand(task, rec), err
}

// StartCommand starts a command in the background of a task. A task whose guest has ended is started again
// first.
func (p *Pyro) StartCommand(ctx context.Context, r StartCommandRequest) (Command, error) {
	line := CommandLine{
		Command:         r.Command,
		Argv:            r.Argv,
		CommandSettings: r.CommandSettings,
		Secrets:         r.Secrets,
		TimeoutSeconds:  &r.LimitSeconds,
	}
	if err := line.check(); err != nil {
		return Command{}, err
	}
	return p.jobRecord(ctx, r.TaskID, link.OpJobStart, link.JobStart{
		Kind: link.JobCommand,
		Name: r.Name,
		Exec: link.Exec{
			Command:   r.Command,
			Argv:      r.Argv,
			Env:       variables(r.Env),
			Secrets:   variables(r.Secrets),
			WorkDir:   r.WorkDir,
			User:      r.User,
			TimeoutMS: int64(r.LimitSeconds) * 1000,
			Stdin:     r.Input,
		},
	})
}

// OpenShell starts a program on a terminal that goes on when the caller goes.
func (p *Pyro) OpenShell(ctx context.Context, r OpenShellRequest) (Command, error) {
	e := link.Exec{
		Command:  r.Command,
		Stdin:    true,
		Terminal: &link.Terminal{Size: link.Size(r.TerminalSize), Type: r.Type},
	}
	if e.Command == "" {
		e.Argv = []string{"/bin/sh", "-c", loginShell}
	}
	start := link.JobStart{Kind: link.JobShell, Name: r.Name, Exec: e}
	return p.jobRecord(ctx, r.TaskID, link.OpJobStart, start)
}

// StartService starts a service, and returns when it is ready, or has failed, of which its State tells.
func (p *Pyro) StartService(ctx context.Context, r StartServiceRequest) (Command, error) {
	none := 0
	line := CommandLine{Command: r.Command, Argv: r.Argv, TimeoutSeconds: &none}
	line.Secrets = r.Secrets
	if err := line.check(); err != nil {
		return Command{}, err
	}
	if r.Name == "" {
		return Command{}, invalid("a service needs a name")
	}
	if r.Resume && len(r.Secrets) > 0 {
		return Command{}, invalid("a service with secrets cannot be started again with its task: " +
			"nobody keeps them")
	}
	set := 0
	for _, given := range []bool{r.ReadyHTTP != "", r.ReadyTCP != 0, r.ReadyFile != "", r.ReadyLog != "",
		r.ReadyCommand != ""} {
		if given {
			set++
		}
	}
	if set > 1 {
		return Command{}, invalid("more than one sign is named that the service is ready")
	}
	if r.ReadySeconds == 0 {
		r.ReadySeconds = defaultReadySeconds
	}
	return p.jobRecord(ctx, r.TaskID, link.OpJobStart, link.JobStart{
		Kind: link.JobService,
		Name: r.Name,
		Exec: link.Exec{Command: r.Command, Argv: r.Argv, Secrets: variables(r.Secrets)},
		Service: &link.Service{
			Ready: link.Ready{
				HTTP:    r.ReadyHTTP,
				TCP:     r.ReadyTCP,
				File:    r.ReadyFile,
				Log:     r.ReadyLog,
				Command: r.ReadyCommand,
			},
			ReadyMS:     int64(r.ReadySeconds) * 1000,
			Restart:     r.Restart,
			MaxRestarts: r.MaxRestarts,
			Resume:      r.Resume,
		},
	})
}

// ListCommands lists a task's background commands: those that run, and the last 64 that have ended.
func (p *Pyro) ListCommands(ctx context.Context, r TaskRequest) (ListCommandsResult, error) {
	var found []record.Job
	err := p.job(ctx, &r.TaskID, link.OpJobList, link.Empty{}, &found)
	out := ListCommandsResult{TaskID: r.TaskID, Commands: make([]Command, len(found))}
	for i, rec := range found {
		out.Commands[i] = viewCommand(r.TaskID, rec)
	}
	return out, err
}

// StatusCommand gives the record of a background command.
func (p *Pyro) StatusCommand(ctx context.Context, r CommandRequest) (Command, error) {
	return p.jobRecord(ctx, r.TaskID, link.OpJobWait, link.JobWait{ID: r.CommandID, WaitMS: 1})
}

// WaitCommand waits for the end of a background command.
func (p *Pyro) WaitCommand(ctx context.Context, r WaitCommandRequest) (Command, error) {
	wait := link.JobWait{ID: r.CommandID, WaitMS: int64(r.LimitSeconds) * 1000}
	return p.jobRecord(ctx, r.TaskID, link.OpJobWait, wait)
}

// ReadCommand reads a background command's output, of one that has ended, too.
func (p *Pyro) ReadCommand(ctx context.Context, r ReadCommandRequest) (ReadCommandResult, error) {
	if r.MaxBytes == 0 {
		r.MaxBytes = defaultReadBytes
	}
	if err := ParameterNamed("max_bytes").check(r.MaxBytes); err != nil {
		return ReadCommandResult{}, err
	}
	var rec record.Job
	answer := link.JobOutput{Job: &rec}
	err := p.job(ctx, &r.TaskID, link.OpJobRead, link.JobRead{
		ID:     r.CommandID,
		From:   r.Cursor,
		Limit:  r.MaxBytes,
		WaitMS: int64(r.WaitMS),
		IdleMS: int64(r.IdleMS),
	}, &answer)
	if err != nil {
		return ReadCommandResult{}, err
	}
	out := ReadCommandResult{Command: viewCommand(r.TaskID, rec)}
	if r.Cursor >= 0 {
		out.LostBytes = max(0, answer.From-r.Cursor)
	}
	text, taken := readable(answer.Pieces, rec.Ended())
	if r.Plain && !rec.Ended() {
		if keep := screen.WholeSequences(text); keep > 0 {
			text, taken = text[:keep], taken-len(text)+keep
		}
	}
	out.Cursor = answer.From + int64(taken)
	out.Output = strings.ToValidUTF8(string(text), "\uFFFD")
	if r.Plain {
		out.Output = screen.Text(out.Output, screen.Size{Rows: rec.Rows, Cols: rec.Cols})
	}
	return out, nil
}

// readable puts the pieces of both streams together so that no character is cut in two, and tells how many of
// their bytes it has taken. A character whose end has not come is left for the next read, unless all has.
func readable(pieces []link.JobPiece, all bool) (text []byte, taken int) {
	type half struct {
		data     []byte
		at, text int // where it stands in the pieces, and would in the text
	}
	held := map[uint8]half{} // the beginning of a character, of each stream
	for _, piece := range pieces {
		h := held[piece.Stream]
		delete(held, piece.Stream)
		joined := append(h.data, piece.Data...)
		n := wholeCharacters(joined)
		text = append(text, joined[:n]...)
		if n > 0 || len(h.data) == 0 {
			h.at, h.text = taken+n-len(h.data), len(text)
		}
		if n < len(joined) {
			held[piece.Stream] = half{joined[n:], h.at, h.text}
		}
		taken += len(piece.Data)
	}
	cut := half{at: taken, text: len(text)}
	for _, h := range held {
		if h.at < cut.at {
			cut = h
		}
	}
	if !all && (cut.at > 0 || len(pieces) <= 1) {
		return text[:cut.text], cut.at
	}
	for _, h := range held {
		text = append(text, h.data...)
	}
	return text, taken
}

// wholeCharacters is how many of a text's bytes make whole characters: the last may still be on its way.
func wholeCharacters(text []byte) int {
	for i := len(text) - 1; i >= 0 && i >= len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				return i
			}
			break
		}
	}
	return len(text)
}

// AttachCommand passes a background command's output on as it comes, and input to it, and returns its record
// when it has ended. Several may be attached to one.
func (p *Pyro) AttachCommand(ctx context.Context, r AttachCommandRequest) (Command, error) {
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
		return Command{}, err
	}
	s, err := p.reach(ctx, r.TaskID)
	if err != nil {
		return Command{}, err
	}
	defer s.Close()
	if r.Lost == nil {
		r.Lost = func(int64) {}
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	var rec record.Job
	attach := link.JobAttach{ID: r.CommandID, From: r.Cursor}
	err = s.Client.AttachJob(ctx, attach, r.Streams.link(limited), r.Lost, &rec)
	if ctx.Err() != nil {
		return Command{}, context.Cause(ctx)
	}
	return viewCommand(r.TaskID, rec), fromLink("", err)
}

// inputPiece is how much input goes in one message.
const inputPiece = 128 << 10

// WriteCommand types, or writes to the standard input of a background command.
func (p *Pyro) WriteCommand(ctx context.Context, r WriteCommandRequest) (Command, error) {
	for rest := []byte(r.Input); ; {
		piece := rest[:min(len(rest), inputPiece)]
		rest = rest[len(piece):]
		write := link.JobWrite{
			ID:     r.CommandID,
			Data:   piece,
			End:    r.End && len(rest) == 0,
			WaitMS: int64(r.LimitSeconds) * 1000,
		}
		if err := p.job(ctx, &r.TaskID, link.OpJobWrite, write, nil); err != nil {
			return Command{}, err
		}
		if len(rest) == 0 {
			break
		}
	}
	return p.StatusCommand(ctx, r.CommandRequest)
}

// SignalCommand sends a signal to a background command.
func (p *Pyro) SignalCommand(ctx context.Context, r SignalCommandRequest) (Command, error) {
	name := strings.ToUpper(r.Signal)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	n := unix.SignalNum(name)
	if n == 0 {
		return Command{}, invalid("there is no signal %q", r.Signal)
	}
	signal := link.Signal{ID: r.CommandID, Number: int(n)}
	if err := p.job(ctx, &r.TaskID, link.OpJobSignal, signal, nil); err != nil {
		return Command{}, err
	}
	return p.StatusCommand(ctx, r.CommandRequest)
}

// ResizeCommand tells a background command's terminal its size.
func (p *Pyro) ResizeCommand(ctx context.Context, r ResizeCommandRequest) (Command, error) {
	resize := link.Resize{ID: r.CommandID, Size: link.Size(r.TerminalSize)}
	if err := p.job(ctx, &r.TaskID, link.OpJobResize, resize, nil); err != nil {
		return Command{}, err
	}
	return p.StatusCommand(ctx, r.CommandRequest)
}

// StopCommand ends a background command, and returns when it is over. One that has ended stays as it is.
func (p *Pyro) StopCommand(ctx context.Context, r StopCommandRequest) (Command, error) {
	grace := defaultGraceSeconds
	if r.GraceSeconds != nil {
		grace = *r.GraceSeconds
	}
	if err := ParameterNamed("grace_seconds").check(grace); err != nil {
		return Command{}, err
	}
	stop := link.JobStop{ID: r.CommandID, GraceMS: int64(grace) * 1000}
	return p.jobRecord(ctx, r.TaskID, link.OpJobStop, stop)
}

func viewCommand(task string, j record.Job) Command {
	return Command{
		TaskID:    task,
		CommandID: j.ID,
		Kind:      j.Kind,
		State:     j.State,
		Sequence:  j.Sequence,
		Command:   j.Command,
		Terminal:  j.Terminal,
		StartedAt: j.StartedAt,
		EndedAt:   j.EndedAt,
		ExitCode:  j.ExitCode,
		TimedOut:  j.TimedOut,
		Restarts:  j.Restarts,
		Notice:    j.Notice,
		Cause:     j.Cause,
	}
}
