package pyro

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// pool keeps started VMs ready for runs to come, of the shape that was last asked for. Each is bound to this
// process: it goes when the pool does, however that ends.
type pool struct {
	p    *Pyro
	size int

	mu      sync.Mutex
	shape   string // of those that are ready
	ready   []pooled
	filling bool
	closed  bool
	work    sync.WaitGroup
}

type pooled struct {
	session *session
	vm      record.VM
}

// shapeOf tells VMs apart by all that a caller can ask for, but for the TTL, which counts from the run on.
func shapeOf(vm record.VM) string {
	vm.TTLSeconds, vm.Kind = 0, ""
	data, err := json.Marshal(vm)
	if err != nil {
		return ""
	}
	return string(data)
}

// take gives a VM of a shape where one is ready, and has the pool filled with more of that shape.
func (l *pool) take(vm record.VM) (pooled, bool) {
	if l.size == 0 {
		return pooled{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if shape := shapeOf(vm); l.shape != shape {
		l.drop()
		l.shape = shape
	}
	for len(l.ready) > 0 {
		next := l.ready[0]
		l.ready = l.ready[1:]
		select {
		case <-next.session.wire.Done():
			next.session.Close() // It died while it waited.
			continue
		default:
		}
		return next, true
	}
	return pooled{}, false
}

// fill starts VMs until the pool is full, in the background, one after the other: it must not slow a run down more
// than it has to.
func (l *pool) fill(vm record.VM) {
	if l.size == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.filling || l.closed {
		return
	}
	l.filling = true
	shape := shapeOf(vm)
	vm.Kind, vm.TTLSeconds = record.KindPool, 0
	l.work.Go(func() {
		for {
			next, err := l.p.prepared(vm)
			l.mu.Lock()
			if err != nil || l.closed || l.shape != shape {
				if err != nil {
					l.p.log.Warn("cannot fill the pool", "error", err)
				} else {
					next.session.Close()
				}
				l.filling = false
				l.mu.Unlock()
				return
			}
			l.ready = append(l.ready, next)
			full := len(l.ready) >= l.size
			l.filling = !full
			l.mu.Unlock()
			if full {
				return
			}
		}
	})
}

// rehearsalLimit bounds what a VM of the pool does before it is ready.
const rehearsalLimit = 10 * time.Second

// prepared makes a VM, starts it, and has it run a command that does nothing: under emulation the first command
// takes several times as long as those that find its code translated.
func (p *Pyro) prepared(vm record.VM) (pooled, error) {
	ctx := context.Background()
	s, err := p.create(ctx, vm)
	if err != nil {
		return pooled{}, err
	}
	if err := s.client.Call(ctx, link.OpStart, link.Empty{}, &vm); err != nil {
		s.Close()
		return pooled{}, fromLink("cannot start a guest", err)
	}
	rehearsal := link.Exec{Command: "true", TimeoutMS: rehearsalLimit.Milliseconds()}
	if _, err := s.client.Exec(ctx, rehearsal, link.Streams{}); err != nil {
		s.Close()
		return pooled{}, fromLink("cannot run a command", err)
	}
	return pooled{s, vm}, nil
}

// drop lets go of what is ready. The caller holds mu.
func (l *pool) drop() {
	for _, r := range l.ready {
		r.session.Close()
	}
	l.ready = nil
}

func (l *pool) close() {
	l.mu.Lock()
	l.closed = true
	l.drop()
	l.mu.Unlock()
	l.work.Wait()
}
