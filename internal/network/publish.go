package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Published is a port of this host behind which a port of the guest stands.
type Published struct {
	HostIP    string `json:"host_ip"`
	HostPort  int    `json:"host_port"`
	GuestPort int    `json:"guest_port"`
}

// parsePublish reads [HOST_IP:]HOST_PORT:GUEST_PORT. An IPv6 address stands in brackets.
func parsePublish(word string) (Published, error) {
	fail := func(format string, args ...any) (Published, error) {
		return Published{}, fmt.Errorf("cannot publish %q: %s", word, fmt.Sprintf(format, args...))
	}
	rest, guestPort, found := cutLast(word, ":")
	if !found {
		return fail("write it as [HOST_IP:]HOST_PORT:GUEST_PORT")
	}
	host, hostPort := "127.0.0.1", rest
	if head, tail, found := cutLast(rest, ":"); found {
		host, hostPort = strings.TrimSuffix(strings.TrimPrefix(head, "["), "]"), tail
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Is6() != (head != host) {
			return fail("%q is not an address of this host", head)
		}
	}
	outer, err := parsePort(hostPort)
	if err != nil {
		return fail("%s", err)
	}
	inner, err := parsePort(guestPort)
	if err != nil || inner == 0 {
		return fail("%q is not a port", guestPort)
	}
	return Published{HostIP: host, HostPort: int(outer), GuestPort: int(inner)}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// bind listens on all published ports or on none, and tells the ports that were free if 0 was asked for.
func bind(ctx context.Context, wanted []Published) ([]net.Listener, []Published, error) {
	var listeners []net.Listener
	published := make([]Published, 0, len(wanted))
	for _, p := range wanted {
		address := net.JoinHostPort(p.HostIP, strconv.Itoa(p.HostPort))
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err
			}
			return nil, nil, fmt.Errorf("cannot publish on %s: %w", address, err)
		}
		p.HostPort = l.Addr().(*net.TCPAddr).Port
		listeners, published = append(listeners, l), append(published, p)
	}
	return listeners, published, nil
}

// publish takes a port's connections until the listener is closed.
func (n *Network) publish(life context.Context, l net.Listener, port int) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// There are too few descriptors, most likely: wait for some to be freed.
			select {
			case <-life.Done():
				return
			case <-time.After(50 * time.Millisecond):
				continue
			}
		}
		host := conn.(*net.TCPConn)
		guest, ok := n.sessions.beginInbound()
		if !ok {
			host.SetLinger(0)
			host.Close()
			continue
		}
		n.spawn(func() {
			defer n.sessions.endInbound()
			s := &session{network: n, host: host, guest: guest}
			err := n.dialGuest(life, s, port)
			if err == nil {
				n.counters.allowed.Add(1)
				s.relay()
				return
			}
			if s.ep != nil {
				s.ep.Abort()
			}
			if n.relayInside(life, host, port) != nil {
				n.counters.failed.Add(1)
				s.closeHost()
			}
		})
	}
}

// dialGuest connects the session's endpoint to a port of the guest, from the gateway's address.
func (n *Network) dialGuest(life context.Context, s *session, port int) error {
	if !n.link.isAttached() {
		return errors.New("cannot connect to the guest: it is not there")
	}
	ep, terr := n.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &s.queue)
	if terr != nil {
		return errors.New(terr.String())
	}
	s.ep = ep
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	from, to := stackAddr(n.gateway), stackAddr(n.guest)
	if terr := ep.Bind(tcpip.FullAddress{NIC: nicID, Addr: from}); terr != nil {
		return errors.New(terr.String())
	}
	terr = ep.Connect(tcpip.FullAddress{NIC: nicID, Addr: to, Port: uint16(port)})
	if _, started := terr.(*tcpip.ErrConnectStarted); started {
		limit := time.NewTimer(guestTimeout)
		defer limit.Stop()
		select {
		case <-ready:
			terr = ep.LastError()
		case <-limit.C:
			terr = &tcpip.ErrTimeout{}
		case <-life.Done():
			terr = &tcpip.ErrAborted{}
		}
	}
	if terr != nil {
		return errors.New(terr.String())
	}
	return nil
}
