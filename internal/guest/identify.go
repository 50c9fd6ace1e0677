package guest

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
)

// identify makes a guest a machine of its own, before anything runs in it.
func (g *Guest) identify(ctx context.Context, spec Spec) error {
	entropy := make([]byte, 64)
	if _, err := rand.Read(entropy); err != nil {
		return err
	}
	c := link.Configure{
		Hostname:  spec.ID,
		MachineID: spec.MachineID,
		Entropy:   entropy,
		Env:       spec.Env,
		User:      spec.User,
		WorkDir:   spec.WorkDir,
	}
	if g.network != nil {
		n := g.network.Guest()
		c.Network = &link.Network{MAC: n.MAC, Address: n.Address, Gateway: n.Gateway, DNS: n.DNS, MTU: n.MTU}
	}
	return g.guarded(ctx, func(ctx context.Context) error {
		c.ClockNS = time.Now().UnixNano()
		if err := g.client.Call(ctx, link.OpConfigure, c, nil); err != nil {
			return g.failed("the guest could not be configured", err)
		}
		return nil
	})
}
