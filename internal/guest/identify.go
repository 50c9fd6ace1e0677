package guest

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
)

// become makes a guest that has just started a machine of its own, and sets it up for commands.
func (g *Guest) become(ctx context.Context, spec Spec, took *phase.Clock) error {
	return g.guarded(ctx, func(ctx context.Context) error {
		if err := g.identify(ctx, spec); err != nil {
			return err
		}
		took.Done("guest identified")
		setUp := link.SetUp{
			Env:     spec.Env,
			User:    spec.User,
			WorkDir: spec.WorkDir,
			Trust:   spec.Trust,
		}
		if err := g.client.Call(ctx, link.OpSetUp, setUp, nil); err != nil {
			return g.failed("the guest could not be set up", err)
		}
		took.Done("guest set up")
		return nil
	})
}

// identify makes a guest a machine of its own, before anything new runs in it. A guest that becomes another
// machine is identified again.
func (g *Guest) identify(ctx context.Context, spec Spec) error {
	entropy := make([]byte, 64)
	if _, err := rand.Read(entropy); err != nil {
		return err
	}
	p := link.Identify{
		Hostname:   spec.ID,
		MachineID:  spec.MachineID,
		Entropy:    entropy,
		Generation: max(spec.Generation, 1),
	}
	if g.network != nil {
		n := g.network.Guest()
		p.Network = &link.Network{
			MAC:     n.MAC,
			Address: n.Address,
			Gateway: n.Gateway,
			DNS:     n.DNS,
			MTU:     n.MTU,
		}
	}
	p.ClockNS = time.Now().UnixNano()
	if err := g.client.Call(ctx, link.OpIdentify, p, nil); err != nil {
		return g.failed("the guest could not be made a machine of its own", err)
	}
	return nil
}
