package agent

import (
	"context"
	"fmt"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// dial connects the host to a server that listens on the guest's loopback.
func (a *Agent) dial(ctx context.Context, d link.Dial, stream *wire.Stream) (any, error) {
	if d.Port < 1 || d.Port > 65535 {
		return nil, &link.Error{Code: link.CodeInvalid, Message: fmt.Sprintf("%d is no port", d.Port)}
	}
	conn, err := process.DialLoopback(d.Port, d.UDP)
	if err != nil {
		return nil, &link.Error{Code: link.CodeState, Message: err.Error()}
	}
	return link.Empty{}, link.Relay(ctx, stream, conn)
}
