package cli

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

// detachKeys leave a terminal, as elsewhere: Ctrl-P Ctrl-Q.
const detachKeys = "\x10\x11"

func newTaskAttach(a *app) *cobra.Command {
	var cursor int64
	cmd := &cobra.Command{
		Use:   "attach ID COMMAND",
		Short: "Take part in a background command or shell",
		Long: `Shows what a background command or shell writes, and passes on what is typed. Several may be
attached to one. Ctrl-P Ctrl-Q detaches; the command goes on. The exit status is the command's own
if it ends.`,
		Example:           "  s=$(pyro task shell --detach \"$id\")\n  pyro task attach \"$id\" \"$s\"",
		Args:              exactly("ID", "COMMAND"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, detach := context.WithCancelCause(cmd.Context())
			defer detach(nil)
			line, restore := a.commandLine(ctx, nil, &duration{}, &terminalFlags{
				terminal: terminalOf(a.stdin) != nil,
				timed:    never,
			})
			defer restore()
			if line.Terminal != nil {
				line.Streams.Stdin = &detachReader{from: a.stdin, detach: func() { detach(errDetached) }}
			}
			c, err := with(a, func(p *pyro.Pyro) (pyro.Command, error) {
				r := pyro.CommandRequest{TaskID: args[0], CommandID: args[1]}
				if line.Terminal != nil && line.Terminal.Rows > 0 {
					// It may have ended, or have no terminal.
					_, _ = p.ResizeCommand(ctx, pyro.ResizeCommandRequest{
						CommandRequest: r,
						TerminalSize:   line.Terminal.TerminalSize,
					})
				}
				c, err := p.AttachCommand(ctx, pyro.AttachCommandRequest{
					CommandRequest: r,
					Cursor:         cursor,
					Streams:        line.Streams,
				})
				return c, knownTask(ctx, p, args[0], err)
			})
			restore()
			if errors.Is(context.Cause(ctx), errDetached) {
				a.remark("detached from %s", args[1])
				return nil
			}
			if err != nil {
				return err
			}
			if c.ExitCode != nil && *c.ExitCode != 0 {
				return exitStatus(*c.ExitCode)
			}
			return nil
		},
	}
	cmd.Flags().Int64Var(&cursor, "cursor", 0,
		"begin at byte `N` of the output; -1 is what comes from now on")
	return cmd
}

var errDetached = errors.New("detached")

// detachReader watches what is typed for the keys that detach.
type detachReader struct {
	from   io.Reader
	detach func()
	held   bool // the first of the keys was typed
}

func (r *detachReader) Read(p []byte) (int, error) {
	if len(p) < 2 {
		return r.from.Read(p)
	}
	n, err := r.from.Read(p[1:])
	text := p[1 : 1+n]
	if r.held && n > 0 {
		r.held = false
		text = append([]byte{detachKeys[0]}, text...)
	}
	if i := bytes.Index(text, []byte(detachKeys)); i >= 0 {
		r.detach()
		return copy(p, text[:i]), io.EOF
	}
	if bytes.HasSuffix(text, []byte{detachKeys[0]}) {
		r.held, text = true, text[:len(text)-1]
	}
	return copy(p, text), err
}
