package guest

import (
	"context"

	"github.com/pyro-mcp/pyro/internal/link"
)

// Exec runs a command as [link.Client.Exec] does.
func (g *Guest) Exec(ctx context.Context, e link.Exec, std link.Streams) (link.ExecResult, error) {
	return g.client.Exec(ctx, e, std)
}

// Signal sends a signal to a command that was started with an id.
func (g *Guest) Signal(ctx context.Context, s link.Signal) error {
	return g.client.Call(ctx, link.OpSignal, s, nil)
}

// Resize tells the terminal of a command that was started with an id its size.
func (g *Guest) Resize(ctx context.Context, r link.Resize) error {
	return g.client.Call(ctx, link.OpResize, r, nil)
}

// Dial connects to a server on the guest's own loopback.
func (g *Guest) Dial(ctx context.Context, d link.Dial) (link.Duplex, error) {
	return g.client.Dial(ctx, d)
}
