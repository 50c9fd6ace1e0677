package guest

import (
	"context"

	"github.com/pyro-mcp/pyro/internal/hostcompat"
)

// startHost has the host, confined, stand in for a guest.
func (l Launcher) startHost(ctx context.Context, spec Spec) (*Guest, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	h, err := hostcompat.Start(ctx, hostcompat.Config{Dir: spec.Dir, Hostname: spec.ID, Log: l.Log})
	if err != nil {
		return nil, err
	}
	// What an image says is about its own files: on this host its directory is not to be made, and its
	// variables mean something else.
	spec.Env, spec.User, spec.WorkDir = nil, "", ""
	return l.Join(ctx, spec, h, h.Conn(),
		Facts{Mode: ModeHost, MemMiB: spec.MemMiB, Confinement: h.Report().String()})
}
