package pyro

import (
	"context"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// spare is the wish for one more VM of a run's shape, started ahead for whoever runs something next.
type spare struct {
	vm      record.VM // as the run wanted it
	seconds int
	asked   bool // for this run, and not for all
}

// wishSpare gives what a run asks for, or the engine's setting for all; nil is nothing.
func (p *Pyro) wishSpare(asked *int, vm record.VM) (*spare, error) {
	s := spare{vm: vm, seconds: p.options.KeepWarm}
	if asked != nil {
		s.seconds, s.asked = *asked, true
	}
	if err := ParameterNamed("keep_warm").check(s.seconds); err != nil {
		return nil, err
	}
	if s.seconds == 0 {
		return nil, nil
	}
	if vm.Isolation == IsolationChoices()[0] {
		return &s, nil
	}
	if s.asked {
		return nil, invalid("keep_warm keeps a clone, and guests of isolation %q are not cloned",
			vm.Isolation)
	}
	return nil, nil
}

// refused warns of a wish that cannot be met, by the VM as it was started.
func (s *spare) refused(started record.VM) []string {
	if s.asked && started.ExecutionMode != link.ModeGuest {
		return []string{"nothing is kept warm: the command ran on the host"}
	}
	return nil
}

// keepSpare starts a spare, which its supervisor goes on with alone. A VM that was not cloned has none: its
// template is being made, and the next one is cloned.
func (p *Pyro) keepSpare(ctx context.Context, started record.VM, wish spare) {
	if !started.Warm || started.ExecutionMode != link.ModeGuest {
		return
	}
	ctx = context.WithoutCancel(ctx)
	s, err := p.instances.Spare(ctx, wish.vm, wish.seconds)
	if s == nil {
		if err != nil {
			p.log.Warn("cannot keep a VM warm", "error", err)
		}
		return
	}
	defer s.Close()
	err = p.store.Use(wish.vm.Boot.ImageSHA256, wish.vm.Boot.Kernel.Path, p.instances.Dir(s.ID))
	if err == nil {
		err = s.Client.Post(ctx, link.OpSpare, link.Empty{})
	}
	if err != nil {
		p.log.Warn("cannot keep a VM warm", "error", err)
	}
}
