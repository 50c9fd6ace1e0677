package cli

import (
	"fmt"
	"io"
	"strconv"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskCommand(a *app) *cobra.Command {
	return parent("command", "Look after the background commands of a task",
		`Background commands go on when who started them goes: those of 'task exec --detach', the shells of
'task shell --detach', and services. COMMAND is an id or a name, as 'task command list' shows them.
What a command writes is kept on disk, the last 2 MiB at least, until 64 others have ended.`,
		`  pyro task exec -d "$id" --name build -- make all
  pyro task command logs "$id" build --follow
  pyro task command wait "$id" build`,
		newCommandList(a), newCommandStatus(a), newCommandLogs(a), newCommandWait(a), newCommandWrite(a),
		newCommandSignal(a), newCommandResize(a), newCommandStop(a))
}

// onCommand makes a command on one background command.
func onCommand(
	a *app, use, short string, do func(*pyro.Pyro, *cobra.Command, pyro.CommandRequest, []string) error,
	more ...string,
) *cobra.Command {
	cmd := &cobra.Command{
		Use:               use,
		Short:             short,
		Example:           "  pyro task command " + use,
		Args:              exactly(append([]string{"ID", "COMMAND"}, more...)...),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.engine()
			if err != nil {
				return err
			}
			defer p.Close()
			request := pyro.CommandRequest{TaskID: args[0], CommandID: args[1]}
			return knownTask(cmd.Context(), p, args[0], do(p, cmd, request, args[2:]))
		},
	}
	return cmd
}

func newCommandList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list ID",
		Short:             "List a task's background commands, shells and services",
		Example:           `  pyro task command list "$id"`,
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.ListCommandsResult, error) {
				result, err := p.ListCommands(cmd.Context(), pyro.TaskRequest{TaskID: args[0]})
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) { commandTable(w, result.Commands) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func commandTable(w io.Writer, commands []pyro.Command) {
	rows := [][]string{{"COMMAND", "KIND", "STATE", "EXIT", "STARTED", "COMMAND LINE"}}
	for _, c := range commands {
		rows = append(rows, []string{c.CommandID, c.Kind, c.State, exitText(c), moment(&c.StartedAt),
			oneLine(c.Command)})
	}
	table(w, rows...)
}

func exitText(c pyro.Command) string {
	if c.ExitCode == nil {
		return ""
	}
	return strconv.Itoa(*c.ExitCode)
}

// printCommand prints a background command's record.
func (a *app) printCommand(c pyro.Command, err error) error {
	if err != nil {
		return err
	}
	return a.print(c, func(w io.Writer) {
		rows := [][]string{
			{"command", c.CommandID}, {"kind", c.Kind}, {"state", c.State}, {"line", oneLine(c.Command)},
			{"started", moment(&c.StartedAt)},
		}
		if c.EndedAt != nil {
			rows = append(rows, []string{"ended", moment(c.EndedAt)}, []string{"exit status", exitText(c)})
		}
		if c.Restarts > 0 {
			rows = append(rows, []string{"restarts", strconv.Itoa(c.Restarts)})
		}
		if c.Notice != "" {
			rows = append(rows, []string{"notice", oneLine(c.Notice)})
		}
		table(w, rows...)
	})
}

func newCommandStatus(a *app) *cobra.Command {
	cmd := onCommand(a, "status ID COMMAND", "Show what a background command is doing",
		func(p *pyro.Pyro, cmd *cobra.Command, r pyro.CommandRequest, _ []string) error {
			return a.printCommand(p.StatusCommand(cmd.Context(), r))
		})
	a.jsonFlag(cmd)
	return cmd
}

func newCommandLogs(a *app) *cobra.Command {
	var follow, plain bool
	var cursor int64
	cmd := onCommand(a, "logs ID COMMAND", "Print what a background command has written",
		func(p *pyro.Pyro, cmd *cobra.Command, r pyro.CommandRequest, _ []string) error {
			if follow {
				_, err := p.AttachCommand(cmd.Context(), pyro.AttachCommandRequest{
					CommandRequest: r,
					Cursor:         cursor,
					Streams:        pyro.Streams{Stdout: a.stdout, Stderr: a.stderr},
					Lost:           func(n int64) { a.remark("%d bytes are missing here", n) },
				})
				return err
			}
			return a.readAll(cmd, p, pyro.ReadCommandRequest{CommandRequest: r, Cursor: cursor, Plain: plain})
		})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the command has ended")
	cmd.Flags().BoolVar(&plain, "plain", false, "render what was written to a terminal as text")
	cmd.Flags().Int64Var(&cursor, "cursor", 0, "begin at byte `N`; one below 0 counts from the end")
	a.jsonFlag(cmd)
	return cmd
}

// readAll prints output up to its present end; as JSON, one piece with the cursor to go on from.
func (a *app) readAll(cmd *cobra.Command, p *pyro.Pyro, r pyro.ReadCommandRequest) error {
	r.MaxBytes = 1 << 20
	for {
		result, err := p.ReadCommand(cmd.Context(), r)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(result)
		}
		if result.LostBytes > 0 {
			a.remark("%d bytes before this were dropped", result.LostBytes)
		}
		if _, err := io.WriteString(a.stdout, result.Output); err != nil || result.Output == "" {
			return err
		}
		r.Cursor = result.Cursor
	}
}

func newCommandWait(a *app) *cobra.Command {
	limit := &duration{}
	cmd := onCommand(a, "wait ID COMMAND",
		"Wait for the end of a background command; the exit status is its own",
		func(p *pyro.Pyro, cmd *cobra.Command, r pyro.CommandRequest, _ []string) error {
			request := pyro.WaitCommandRequest{CommandRequest: r, LimitSeconds: limit.value}
			c, err := p.WaitCommand(cmd.Context(), request)
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(c); err != nil {
					return err
				}
			}
			switch {
			case !c.Ended():
				a.remark("%s still runs", c.CommandID)
				return exitStatus(124)
			case c.Notice != "":
				a.remark("%s", oneLine(c.Notice))
			}
			if c.ExitCode != nil && *c.ExitCode != 0 {
				return exitStatus(*c.ExitCode)
			}
			return nil
		})
	cmd.Flags().Var(limit, "limit-seconds", "how long to wait at most; 0 is for ever")
	a.jsonFlag(cmd)
	return cmd
}

func newCommandWrite(a *app) *cobra.Command {
	var end bool
	cmd := onCommand(a, "write ID COMMAND", "Pass standard input on to a background command",
		func(p *pyro.Pyro, cmd *cobra.Command, r pyro.CommandRequest, _ []string) error {
			buffer := make([]byte, 32<<10)
			for {
				n, err := a.stdin.Read(buffer)
				if n > 0 {
					w := pyro.WriteCommandRequest{CommandRequest: r, Input: string(buffer[:n])}
					if _, err := p.WriteCommand(cmd.Context(), w); err != nil {
						return err
					}
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					return fmt.Errorf("cannot read standard input: %w", err)
				}
			}
			if !end {
				return nil
			}
			_, err := p.WriteCommand(cmd.Context(), pyro.WriteCommandRequest{CommandRequest: r, End: true})
			return err
		})
	cmd.Flags().BoolVar(&end, "end", false, "end the command's input after that")
	return cmd
}

func newCommandSignal(a *app) *cobra.Command {
	return onCommand(a, "signal ID COMMAND SIGNAL",
		"Send a signal, such as INT or HUP, to a background command",
		func(p *pyro.Pyro, cmd *cobra.Command, r pyro.CommandRequest, rest []string) error {
			request := pyro.SignalCommandRequest{CommandRequest: r, Signal: rest[0]}
			_, err := p.SignalCommand(cmd.Context(), request)
			return err
		}, "SIGNAL")
}

func newCommandResize(a *app) *cobra.Command {
	return onCommand(a, "resize ID COMMAND ROWS COLUMNS",
		"Give the terminal of a background command another size",
		func(p *pyro.Pyro, cmd *cobra.Command, r pyro.CommandRequest, rest []string) error {
			var size [2]uint16
			for i, text := range rest {
				n, err := strconv.ParseUint(text, 10, 16)
				if err != nil || n == 0 {
					return usagef("%s: %q is no size", cmd.CommandPath(), text)
				}
				size[i] = uint16(n)
			}
			_, err := p.ResizeCommand(cmd.Context(), pyro.ResizeCommandRequest{
				CommandRequest: r,
				TerminalSize:   pyro.TerminalSize{Rows: size[0], Cols: size[1]},
			})
			return err
		}, "ROWS", "COLUMNS")
}

func newCommandStop(a *app) *cobra.Command {
	grace := &duration{value: 10}
	cmd := onCommand(a, "stop ID COMMAND", "End a background command, a shell or a service",
		func(p *pyro.Pyro, cmd *cobra.Command, r pyro.CommandRequest, _ []string) error {
			seconds := grace.value
			request := pyro.StopCommandRequest{CommandRequest: r, GraceSeconds: &seconds}
			return a.printCommand(p.StopCommand(cmd.Context(), request))
		})
	cmd.Flags().Var(grace, "grace-seconds", "how long it has before it is killed")
	a.jsonFlag(cmd)
	return cmd
}
