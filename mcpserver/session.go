package mcpserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
)

// removalLimit bounds the removal of one VM at the end of its session.
const removalLimit = 30 * time.Second

// owned knows which session made which VMs, and removes them when their session ends. VMs of calls without a
// session (the stateless protocol) belong to nil, and go when the server does.
type owned struct {
	mu     sync.Mutex
	vms    map[*mcp.ServerSession]map[string]bool
	ending sync.WaitGroup
	remove func(vmID string)
}

func (o *owned) add(session *mcp.ServerSession, vmID string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.vms == nil {
		o.vms = map[*mcp.ServerSession]map[string]bool{}
	}
	if o.vms[session] == nil {
		o.vms[session] = map[string]bool{}
		if session != nil {
			o.ending.Go(func() {
				_ = session.Wait()
				o.end(session)
			})
		}
	}
	o.vms[session][vmID] = true
}

// forget is told that a VM is gone.
func (o *owned) forget(vmID string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ids := range o.vms {
		delete(ids, vmID)
	}
}

// end removes what a session made.
func (o *owned) end(session *mcp.ServerSession) {
	o.mu.Lock()
	ids := o.vms[session]
	delete(o.vms, session)
	o.mu.Unlock()
	var removals sync.WaitGroup
	for id := range ids {
		removals.Go(func() { o.remove(id) })
	}
	removals.Wait()
}

// wait returns when the VMs of all ended sessions are removed, and removes those without a session.
func (o *owned) wait() {
	o.end(nil)
	o.ending.Wait()
}

func (s *Server) removeVM(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), removalLimit)
	defer cancel()
	_, err := s.engine.DeleteVM(ctx, pyro.VMRequest{VMID: id})
	if log := s.engine.Options().Logger; err != nil && !errors.Is(err, pyro.ErrNotFound) && log != nil {
		log.Warn("cannot remove the VM of an ended session", "vm", id, "error", err)
	}
}
