package pyro

import (
	"context"
	"errors"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/record"
)

// make describes a shape and makes a VM of it, while nobody prunes what it is made from.
func (p *Pyro) make(ctx context.Context, kind record.Kind, shape Shape,
	publish []string) (*instances.Session, record.VM, error) {
	vm, err := p.describe(ctx, kind, shape, publish)
	if err != nil {
		return nil, vm, err
	}
	s, err := p.createHeld(ctx, vm, shape)
	return s, vm, err
}

// createHeld makes a VM as soon as there is a place for it, while nobody prunes what it is made from.
func (p *Pyro) createHeld(ctx context.Context, vm record.VM, shape Shape) (*instances.Session, error) {
	wait, err := shape.wait()
	if err != nil {
		return nil, err
	}
	place, err := p.instances.Take(ctx, vm.Kind, wait)
	if err != nil {
		return nil, fromLink("", err)
	}
	release, err := p.store.Hold(ctx)
	if err != nil {
		return nil, errors.Join(err, p.instances.Leave(place))
	}
	defer release()
	// What a snapshot left that was broken off is in nobody's way, and goes with it if it can.
	_, _ = p.snapshots().Sweep()
	noted := make(chan error, 1) // Beside the supervisor's start: what is synced takes as long.
	go func() {
		noted <- p.store.Use(vm.Boot.ImageSHA256, vm.Boot.Kernel.Path, p.instances.Dir(place.ID()))
	}()
	s, err := p.instances.Fill(ctx, place, vm)
	unnoted := <-noted
	if err != nil {
		return nil, fromLink("", err)
	}
	if unnoted != nil {
		s.Close()
		return nil, errors.Join(environmentError("", unnoted), p.instances.Discard(s.ID))
	}
	return s, nil
}
