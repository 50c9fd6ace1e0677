package pyro

import (
	"context"
	"fmt"
)

// CommandHandle is a background command in the hands of a Go program.
type CommandHandle struct {
	p *Pyro
	// Request names the command in calls of its own.
	Request CommandRequest
}

// CommandHandle gives a handle on a background command. Nothing is asked about it.
func (p *Pyro) CommandHandle(taskID, commandID string) *CommandHandle {
	return &CommandHandle{p, CommandRequest{TaskID: taskID, CommandID: commandID}}
}

// Wait waits until the command has ended.
func (c *CommandHandle) Wait(ctx context.Context) (Command, error) {
	return c.p.WaitCommand(ctx, WaitCommandRequest{CommandRequest: c.Request})
}

// Follow passes the command's output on from its beginning, until it has ended.
func (c *CommandHandle) Follow(ctx context.Context, streams Streams) (Command, error) {
	return c.p.AttachCommand(ctx, AttachCommandRequest{CommandRequest: c.Request, Streams: streams})
}

// Kill ends the command at once, with all that it started.
func (c *CommandHandle) Kill(ctx context.Context) error {
	now := 0
	_, err := c.p.StopCommand(ctx, StopCommandRequest{CommandRequest: c.Request, GraceSeconds: &now})
	if err != nil {
		return fmt.Errorf("cannot kill %q: %w", c.Request.CommandID, err)
	}
	return nil
}
