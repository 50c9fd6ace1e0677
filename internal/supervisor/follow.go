package supervisor

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// audience is those who follow the VM's commands. The zero value is an empty one.
type audience struct {
	mu        sync.Mutex
	followers map[*follower]struct{}
}

// follower is one of them. One who is too slow loses output, and is told so.
type follower struct {
	events chan link.Event
	lost   bool
}

// tell passes an event on to all followers. It makes the event only if somebody listens.
func (a *audience) tell(event func() link.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.followers) == 0 {
		return
	}
	e := event()
	for f := range a.followers {
		f.offer(e)
	}
}

func (f *follower) offer(e link.Event) {
	if f.lost {
		select {
		case f.events <- link.Event{Kind: link.EventLost}:
			f.lost = false
		default:
			return
		}
	}
	select {
	case f.events <- e:
	default:
		f.lost = true
	}
}

func (a *audience) join() *follower {
	f := &follower{events: make(chan link.Event, 256)}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.followers == nil {
		a.followers = map[*follower]struct{}{}
	}
	a.followers[f] = struct{}{}
	return f
}

func (a *audience) leave(f *follower) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.followers, f)
}

// follow sends events until the follower or the VM is gone.
func (s *supervisor) follow(ctx context.Context, stream *wire.Stream) (any, error) {
	f := s.audience.join()
	defer s.audience.leave(f)
	for {
		select {
		case <-ctx.Done():
			return link.Empty{}, nil
		case e := <-f.events:
			data, err := json.Marshal(e)
			if err != nil {
				return nil, err
			}
			if err := stream.Send(link.KindStdout, append(data, '\n')); err != nil {
				return nil, err
			}
		}
	}
}
