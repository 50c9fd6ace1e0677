package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// maxConnections bounds those of one forwarded port. Who comes later waits in line.
const maxConnections = 1200

// forwards are the ports of the host that lead into the guest.
type forwards struct {
	mu  sync.Mutex
	all []*forward
}

// forward is one of them.
type forward struct {
	s      *supervisor
	what   link.PortForward
	close  func()
	count  atomic.Int32
	places chan struct{}
	life   context.Context
}

// handleForward answers the operations on forwarded ports.
func (s *supervisor) handleForward(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	switch req.Op {
	case link.OpForward:
		return link.Answer(req, func(p link.PortForward) (any, error) { return s.forward(ctx, p, stream) })
	case link.OpForwards:
		return s.listForwards(), nil
	case link.OpUnforward:
		return link.Answer(req, s.unforward)
	}
	return nil, link.Unsupported(req.Op)
}

// forward opens a port, for as long as who asks is there unless it is to stay.
func (s *supervisor) forward(ctx context.Context, p link.PortForward, stream *wire.Stream) (any, error) {
	f, err := s.openForward(p)
	if err != nil {
		return nil, err
	}
	if p.Stay {
		return f.view(), s.keepForwards()
	}
	defer s.closeForward(f)
	note, err := json.Marshal(f.view())
	if err != nil {
		return nil, err
	}
	if err := stream.Send(link.KindNote, note); err != nil {
		return nil, err
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// openForward listens on the host.
func (s *supervisor) openForward(p link.PortForward) (*forward, error) {
	if p.HostIP == "" {
		p.HostIP = "127.0.0.1"
	}
	if net.ParseIP(p.HostIP) == nil {
		return nil, refuse(link.CodeInvalid, "%q is no address", p.HostIP)
	}
	if p.HostPort < 0 || p.HostPort > 65535 || p.GuestPort < 1 || p.GuestPort > 65535 {
		return nil, refuse(link.CodeInvalid, "%d or %d is no port", p.HostPort, p.GuestPort)
	}
	life, end := context.WithCancel(context.Background())
	f := &forward{
		s:      s,
		what:   p,
		places: make(chan struct{}, maxConnections),
		life:   life,
	}
	at := net.JoinHostPort(p.HostIP, strconv.Itoa(p.HostPort))
	var err error
	if p.UDP {
		err = f.listenUDP(at, end)
	} else {
		err = f.listenTCP(at, end)
	}
	if err != nil {
		end()
		out := &link.Error{Code: link.CodeUnavailable}
		out.Message = fmt.Sprintf("cannot listen on %s: %v", at, err)
		if errors.Is(err, unix.EADDRINUSE) {
			out.Cause = link.CausePort
			out.Message = fmt.Sprintf("the port %s of the host is taken", at)
		}
		return nil, out
	}
	s.forwards.mu.Lock()
	defer s.forwards.mu.Unlock()
	s.forwards.all = append(s.forwards.all, f)
	return f, nil
}

func (f *forward) listenTCP(at string, end func()) error {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		f.what.HostPort = addr.Port
	}
	f.close = func() { end(); l.Close() }
	go f.accept(l)
	return nil
}

// accept passes connections on until the listener is closed.
func (f *forward) accept(l net.Listener) {
	for {
		select {
		case f.places <- struct{}{}:
		case <-f.life.Done():
			return
		}
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-f.places
			continue
		}
		go func() {
			defer func() { <-f.places }()
			f.carry(conn)
		}()
	}
}

// carry passes one connection on, each direction to its own end.
func (f *forward) carry(conn net.Conn) {
	defer conn.Close()
	g := f.s.current()
	if g == nil {
		return
	}
	defer f.s.hold()()
	f.count.Add(1)
	defer f.count.Add(-1)
	inside, err := g.Dial(f.life, link.Dial{Port: f.what.GuestPort})
	if err != nil {
		f.s.log.Debug("a forwarded connection was refused", "port", f.what.GuestPort, "error", err)
		return
	}
	stop := context.AfterFunc(f.life, func() { inside.Close(); conn.Close() })
	defer stop()
	defer inside.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, err := io.Copy(conn, inside)
		half, ok := conn.(interface{ CloseWrite() error })
		if err != nil || !ok || half.CloseWrite() != nil {
			conn.Close()
			inside.Close()
		}
	})
	if _, err := io.Copy(inside, conn); err != nil || inside.CloseWrite() != nil {
		conn.Close()
		inside.Close()
	}
	back.Wait()
}

func (f *forward) view() link.Forwarded {
	return link.Forwarded{PortForward: f.what, Connections: int(f.count.Load())}
}

func (s *supervisor) listForwards() []link.Forwarded {
	s.forwards.mu.Lock()
	defer s.forwards.mu.Unlock()
	list := make([]link.Forwarded, len(s.forwards.all))
	for i, f := range s.forwards.all {
		list[i] = f.view()
	}
	return list
}

func (s *supervisor) closeForward(f *forward) {
	s.forwards.mu.Lock()
	defer s.forwards.mu.Unlock()
	s.forwards.all = slices.DeleteFunc(s.forwards.all, func(each *forward) bool { return each == f })
	f.close()
}

// unforward closes a port of the host.
func (s *supervisor) unforward(p link.PortForward) (any, error) {
	if p.HostIP == "" {
		p.HostIP = "127.0.0.1"
	}
	s.forwards.mu.Lock()
	var found *forward
	for _, f := range s.forwards.all {
		if f.what.HostIP == p.HostIP && f.what.HostPort == p.HostPort && f.what.UDP == p.UDP {
			found = f
		}
	}
	s.forwards.mu.Unlock()
	if found == nil {
		return nil, refuse(link.CodeNotFound, "port %d of %s is not forwarded", p.HostPort, p.HostIP)
	}
	s.closeForward(found)
	return found.view(), s.keepForwards()
}

// keepForwards writes down the ports that are to stay.
func (s *supervisor) keepForwards() error {
	var kept []record.Forward
	for _, f := range s.listForwards() {
		if f.Stay {
			kept = append(kept, record.Forward{
				HostIP:    f.HostIP,
				HostPort:  f.HostPort,
				GuestPort: f.GuestPort,
				UDP:       f.UDP,
			})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vm.Forwards = kept
	return s.save()
}

// reopenForwards opens the ports again that a supervisor before this one had. One that is taken by now is
// lost.
func (s *supervisor) reopenForwards(kept []record.Forward) {
	for _, k := range kept {
		_, err := s.openForward(link.PortForward{
			HostIP:    k.HostIP,
			HostPort:  k.HostPort,
			GuestPort: k.GuestPort,
			UDP:       k.UDP,
			Stay:      true,
		})
		if err != nil {
			s.log.Warn("a forwarded port is lost", "port", k.HostPort, "error", err)
		}
	}
}
