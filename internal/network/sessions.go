package network

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// attempt is a connection that the guest has asked for and that is not yet made.
type attempt struct {
	dst        netip.AddrPort
	sequence   uint32 // of the request, quoted in errors
	verdict    verdict
	nameServer bool
	guest      int
}

// sessions knows all connections and attempts, and keeps their number down.
type sessions struct {
	mu      sync.Mutex
	pending map[stack.TransportEndpointID]*attempt // until the connection has ended
	alive   map[*session]struct{}
	inbound int // connections through published ports
	large   int
	guest   int // which guest this is, counted from 0: what began for one is not for the next
}

func newSessions() *sessions {
	return &sessions{pending: map[stack.TransportEndpointID]*attempt{}, alive: map[*session]struct{}{}}
}

func (l *sessions) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) + l.inbound
}

func (l *sessions) isFull() bool { return l.open() >= maxConnections }

func (l *sessions) isPending(id stack.TransportEndpointID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending[id] != nil
}

func (l *sessions) attempt(id stack.TransportEndpointID) *attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending[id]
}

// begin takes a place for an attempt. It is false if there is none.
func (l *sessions) begin(id stack.TransportEndpointID, a *attempt) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending)+l.inbound >= maxConnections {
		return false
	}
	a.guest = l.guest
	l.pending[id] = a
	return true
}

func (l *sessions) end(id stack.TransportEndpointID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, id)
}

// add notes a session that has begun. It is false if the guest for which it began has gone.
func (l *sessions) add(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.guest != l.guest {
		return false
	}
	l.alive[s] = struct{}{}
	return true
}

// grow lets a session have large buffers, if there are any left.
func (l *sessions) grow(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, alive := l.alive[s]; !alive || l.large >= largeConnections || s.large.Swap(true) {
		return false
	}
	l.large++
	return true
}

func (l *sessions) remove(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.alive[s]; known && s.large.Load() {
		l.large--
	}
	delete(l.alive, s)
}

func (l *sessions) list() []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*session, 0, len(l.alive))
	for s := range l.alive {
		list = append(list, s)
	}
	return list
}

// abortAll resets all sessions, and those that are about to begin.
func (l *sessions) abortAll() {
	l.mu.Lock()
	l.guest++
	l.mu.Unlock()
	for _, s := range l.list() {
		s.abort()
	}
}

// sweep ends what has been idle for too long.
func (n *Network) sweep(life context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-life.Done():
			return
		case now := <-ticker.C:
			n.sweepOnce(now)
		}
	}
}

func (n *Network) sweepOnce(now time.Time) {
	for _, s := range n.sessions.list() {
		idle := now.Sub(time.Unix(0, s.moved.Load()))
		if idle > idleTimeout || s.half.Load() && idle > halfTimeout {
			s.abort()
		}
	}
	n.flows.closeIdle(now)
}

// beginInbound takes a place for a connection from outside. It is false if there is none.
func (l *sessions) beginInbound() (guest int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending)+l.inbound >= maxConnections {
		return 0, false
	}
	l.inbound++
	return l.guest, true
}

func (l *sessions) endInbound() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inbound--
}
