package pyro

import (
	"context"
	"fmt"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// reach gives a conversation with a VM's supervisor, which is started anew if it is gone.
func (p *Pyro) reach(ctx context.Context, id string) (*instances.Session, error) {
	s, err := p.instances.Reach(ctx, id)
	return s, fromLink("", err)
}

// status reads a VM's record.
func (p *Pyro) status(id string) (record.VM, error) {
	vm, _, err := p.instances.Status(id)
	return vm, fromLink("", err)
}

// resolve makes the word by which a caller means a VM of a kind its id.
func (p *Pyro) resolve(word *string, kind record.Kind) error {
	id, err := p.instances.Find(*word, kind)
	if err == nil {
		*word = id
	}
	return fromLink("", err)
}

// destroy ends a VM and removes all of it, whatever state it is in.
func (p *Pyro) destroy(ctx context.Context, id string) (DeleteResult, error) {
	if err := p.instances.Destroy(ctx, id); err != nil {
		return DeleteResult{}, fromLink("", err)
	}
	return DeleteResult{Deleted: true}, nil
}

// ask has the supervisor of a VM or a task do something that it answers with the record.
func (p *Pyro) ask(ctx context.Context, id string, kind record.Kind, op link.Op, params any,
	failing string) (record.VM, error) {
	if err := p.resolve(&id, kind); err != nil {
		return record.VM{}, err
	}
	s, err := p.reach(ctx, id)
	if err != nil {
		return record.VM{}, err
	}
	defer s.Close()
	var vm record.VM
	if err := s.Client.Call(ctx, op, params, &vm); err != nil {
		return record.VM{}, fromLink(fmt.Sprintf("%s %q", failing, id), err)
	}
	return vm, nil
}
