package pyro

import (
	"context"
	"errors"
	"fmt"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// NetworkInfoVM tells of a VM's or a task's network.
func (p *Pyro) NetworkInfoVM(ctx context.Context, r VMRequest) (NetworkInfo, error) {
	if !record.ValidID(r.VMID) { // A task may be meant by another word.
		if err := p.resolve(&r.VMID, record.KindTask); err != nil {
			return NetworkInfo{}, err
		}
	}
	vm, alive, err := p.instances.Status(r.VMID)
	if err != nil {
		return NetworkInfo{}, fromLink("", err)
	}
	info := NetworkInfo{VMID: r.VMID, Enabled: vm.NetworkEnabled}
	if !vm.NetworkEnabled {
		return info, nil
	}
	decisions, err := record.Network[NetworkDecision](p.instances.Dir(r.VMID))
	if err != nil {
		return info, fmt.Errorf("cannot read the network's log of %q: %w", r.VMID, err)
	}
	info.Decisions = decisions
	if !alive {
		return info, nil
	}
	s, err := p.instances.Connect(ctx, r.VMID)
	if errors.Is(err, instances.ErrUnsupervised) {
		return info, nil
	}
	if err != nil {
		return NetworkInfo{}, fromLink("", err)
	}
	defer s.Close()
	if err := s.Client.Call(ctx, link.OpNetwork, link.Empty{}, &info); err != nil {
		return NetworkInfo{}, fromLink(fmt.Sprintf("cannot ask for the network of %q", r.VMID), err)
	}
	info.VMID, info.Enabled = r.VMID, vm.NetworkEnabled
	return info, nil
}
