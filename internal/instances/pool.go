package instances

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// Pool keeps started VMs ready for runs to come, of the shape that was last asked for. Each is bound to this
// process: it goes when the pool does, however that ends.
type Pool struct {
	instances *Instances
	size      int

	mu      sync.Mutex
	shape   string // of those that are ready
	ready   []Ready
	filling bool
	closed  bool
	work    sync.WaitGroup
}

// Ready is a started VM of a pool.
type Ready struct {
	Session *Session
	VM      record.VM
}

// NewPool makes a pool of a size, which may be 0. The caller closes it.
func (i *Instances) NewPool(size int) *Pool { return &Pool{instances: i, size: size} }

// shapeOf tells VMs apart by all that a caller can ask for, but for the TTL, which counts from the run on.
func shapeOf(vm record.VM) string {
	vm.TTLSeconds, vm.Kind = 0, ""
	data, err := json.Marshal(vm)
	if err != nil {
		return ""
	}
	return string(data)
}

// Take gives a VM of a shape if one is ready. The caller owns its session.
func (l *Pool) Take(vm record.VM) (Ready, bool) {
	if l.size == 0 {
		return Ready{}, false
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
		case <-next.Session.Done():
			next.Session.Close() // It died while it waited.
			continue
		default:
		}
		return next, true
	}
	return Ready{}, false
}

// Fill starts VMs until the pool is full, in the background, one after the other: it must not slow a run down
// more than it has to.
func (l *Pool) Fill(vm record.VM) {
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
		for l.add(vm, shape) {
		}
	})
}

// add starts one more VM, and tells whether the pool wants another.
func (l *Pool) add(vm record.VM, shape string) bool {
	next, err := l.instances.prepared(vm)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filling = false
	if err != nil {
		l.instances.options.Log.Warn("cannot fill the pool", "error", err)
		return false
	}
	if l.closed || l.shape != shape {
		next.Session.Close()
		return false
	}
	l.ready = append(l.ready, next)
	l.filling = len(l.ready) < l.size
	return l.filling
}

// rehearsalLimit bounds what a VM of the pool does before it is ready.
const rehearsalLimit = 10 * time.Second

// prepared makes a VM, starts it, and has it run a command that does nothing: under emulation the first
// command takes several times as long as those that find its code translated.
func (i *Instances) prepared(vm record.VM) (Ready, error) {
	ctx := context.Background()
	s, err := i.Create(ctx, vm)
	if err != nil {
		return Ready{}, err
	}
	if err := s.Client.Call(ctx, link.OpStart, link.Empty{}, &vm); err != nil {
		s.Close()
		return Ready{}, about("cannot start a guest", err)
	}
	rehearsal := link.Exec{Command: "true", TimeoutMS: rehearsalLimit.Milliseconds()}
	if _, err := s.Client.Exec(ctx, rehearsal, link.Streams{}); err != nil {
		s.Close()
		return Ready{}, about("cannot run a command", err)
	}
	return Ready{s, vm}, nil
}

// drop releases what is ready. The caller holds mu.
func (l *Pool) drop() {
	for _, r := range l.ready {
		r.Session.Close()
	}
	l.ready = nil
}

// Close ends the VMs that are ready, and waits for those that are being made.
func (l *Pool) Close() {
	l.mu.Lock()
	l.closed = true
	l.drop()
	l.mu.Unlock()
	l.work.Wait()
}
