package supervisor

import (
	"context"

	"github.com/pyro-mcp/pyro/internal/hostcompat"
	"github.com/pyro-mcp/pyro/internal/record"
)

// launchHost has the host, confined, stand in for a guest.
func (s *supervisor) launchHost(ctx context.Context, vm record.VM) (*guest, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	h, err := hostcompat.Start(ctx, hostcompat.Config{Dir: s.dir, Hostname: vm.ID, Log: s.log})
	if err != nil {
		return nil, err
	}
	g := &guest{machine: h, pipe: h.Conn(), mode: "host_compat", mem: vm.MemMiB, noted: make(chan struct{}),
		confinement: h.Report().String()}
	if err = g.guarded(ctx, g.greet); err == nil {
		// An image's words are about its own files: on this host its directory is not to be made, and its variables mean
		// something else.
		vm.Boot.Env, vm.Boot.User, vm.Boot.WorkDir = nil, "", ""
		identity, errIdentity := s.identity(vm, g)
		if err = errIdentity; err == nil {
			err = g.guarded(ctx, func(ctx context.Context) error { return g.become(ctx, identity, setUp(vm)) })
		}
	}
	if err != nil {
		g.kill()
		return nil, err
	}
	return g, nil
}
