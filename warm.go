package pyro

import (
	"context"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// WarmEnvironment makes the template that VMs of a shape are cloned from.
func (p *Pyro) WarmEnvironment(ctx context.Context, r WarmEnvironmentRequest) (WarmEnvironmentResult, error) {
	begun := time.Now()
	s, _, err := p.make(ctx, record.KindBuild, Shape{
		Environment: r.Environment,
		VCPUCount:   r.VCPUCount,
		MemMiB:      r.MemMiB,
		Network:     r.Network,
	}, nil)
	if err != nil {
		return WarmEnvironmentResult{}, err
	}
	defer s.Close()
	var warmed link.Warmed
	if err := s.Client.Call(ctx, link.OpWarm, link.Warm{}, &warmed); err != nil {
		return WarmEnvironmentResult{}, fromLink("cannot make a template", err)
	}
	return WarmEnvironmentResult{
		Environment: r.Environment,
		Template:    warmed.Template,
		Bytes:       warmed.Bytes,
		DurationMS:  time.Since(begun).Milliseconds(),
	}, nil
}

// warmLater has a template made for the next VM of a shape, by a supervisor that goes on alone.
func (p *Pyro) warmLater(vm record.VM) {
	if vm.Warm && !vm.Stale || vm.ExecutionMode != link.ModeGuest {
		return
	}
	vm.Kind, vm.TTLSeconds, vm.Metadata = record.KindBuild, 0, nil
	ctx := context.Background()
	s, err := p.instances.Create(ctx, vm)
	if err != nil {
		p.log.Warn("cannot make a template", "error", err)
		return
	}
	defer s.Close()
	if err := s.Client.Post(ctx, link.OpWarm, link.Warm{Background: true}); err != nil {
		p.log.Warn("cannot make a template", "error", err)
	}
}
