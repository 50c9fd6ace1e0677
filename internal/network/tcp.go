package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nicID is the stack's one device.
const nicID = 1

// newStack makes a stack that takes every packet, whatever its destination, to our handlers.
func (n *Network) newStack(life context.Context) (*stack.Stack, error) {
	// The library would log what it thinks of the guest's packets to our standard error.
	log.SetTarget(&log.Writer{Next: io.Discard})
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	timeWait, maxRTO := tcpip.TCPTimeWaitTimeoutOption(time.Millisecond), tcpip.TCPMaxRTOOption(5*time.Second)
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	for _, option := range []tcpip.SettableTransportProtocolOption{
		&timeWait, &maxRTO, &sack, &moderate,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: smallBuffer, Max: largeBuffer},
		&tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: smallBuffer, Max: largeBuffer},
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return s, fmt.Errorf("cannot start the network: set %T: %s", option, err)
		}
	}
	forwarder := tcp.NewForwarder(s, smallBuffer, maxConnections, func(r *tcp.ForwarderRequest) {
		n.connect(life, r)
	})
	s.SetTransportProtocolHandler(tcp.ProtocolNumber,
		func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
			return n.handleSegment(id, pkt, forwarder)
		})
	s.SetTransportProtocolHandler(udp.ProtocolNumber,
		func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
			return n.handleDatagram(life, id, pkt)
		})
	if err := s.CreateNIC(nicID, n.link); err != nil {
		return s, fmt.Errorf("cannot start the network: make the device: %s", err)
	}
	s.SetPromiscuousMode(nicID, true)
	s.SetSpoofing(nicID, true)
	address := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: stackAddr(n.gateway), PrefixLen: linkBits},
	}
	if err := s.AddProtocolAddress(nicID, address, stack.AddressProperties{}); err != nil {
		return s, fmt.Errorf("cannot start the network: set the gateway's address: %s", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nicID}})
	return s, nil
}

func stackAddr(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

// destination is where the guest wants to: the gateway stands for this host's loopback.
func (n *Network) destination(addr tcpip.Address, port uint16) netip.AddrPort {
	dst := netip.AddrFrom4(addr.As4())
	if dst == n.gateway {
		dst = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(dst, port)
}

// isNameServer tells whether an attempt is one for our name server: port 53 of the gateway, and of any
// address that no address rule opens.
func (n *Network) isNameServer(protocol string, addr tcpip.Address, dst netip.AddrPort) bool {
	if dst.Port() != 53 {
		return false
	}
	if addr == stackAddr(n.gateway) {
		return true
	}
	_, opened := n.policy.addressRule(protocol, dst, classOf(dst.Addr()), false)
	return !opened
}

// handleSegment sees the segments of no known connection. False makes the stack answer with a reset.
func (n *Network) handleSegment(
	id stack.TransportEndpointID, pkt *stack.PacketBuffer, f *tcp.Forwarder,
) bool {
	segment := header.TCP(pkt.TransportHeader().Slice())
	if segment.Flags()&(header.TCPFlagSyn|header.TCPFlagAck) != header.TCPFlagSyn || !fromUnicast(id) {
		return false
	}
	if n.sessions.isPending(id) {
		return true
	}
	a := &attempt{dst: n.destination(id.LocalAddress, id.LocalPort), sequence: segment.SequenceNumber()}
	if n.isNameServer("tcp", id.LocalAddress, a.dst) {
		a.nameServer = true
	} else {
		a.verdict = n.policy.judge("tcp", a.dst, n.answers.names(a.dst.Addr(), n.hooks.now()))
		if a.verdict.allowed && n.sessions.isFull() {
			a.verdict = refuse("too many connections")
		}
		n.decided("tcp", a.dst, a.verdict)
		if !a.verdict.allowed {
			return false
		}
	}
	if !n.sessions.begin(id, a) {
		return false
	}
	n.tasks.Add(1)
	if !f.HandlePacket(id, pkt) {
		n.sessions.end(id)
		n.tasks.Done()
		return false
	}
	return true
}

func fromUnicast(id stack.TransportEndpointID) bool { return id.RemotePort != 0 && id.LocalPort != 0 }

// connect carries one allowed attempt through to the end of its connection.
func (n *Network) connect(life context.Context, r *tcp.ForwarderRequest) {
	defer n.tasks.Done()
	id := r.ID()
	defer n.sessions.end(id)
	a := n.sessions.attempt(id)
	if a.nameServer {
		s := &session{network: n}
		if n.accept(r, s, true) {
			n.serveNamesTCP(life, gonet.NewTCPConn(&s.queue, s.ep))
			s.finish()
		}
		return
	}
	host, err := n.dial(life, a.dst)
	if err != nil {
		n.counters.failed.Add(1)
		n.refuseAttempt(r, a, err)
		return
	}
	s := &session{
		network: n,
		host:    host,
		dst:     a.dst,
		guest:   a.guest,
		inspect: a.verdict.inspect,
	}
	if !n.accept(r, s, life.Err() == nil) {
		s.abort()
		return
	}
	s.relay()
}

// accept completes the guest's handshake. The request is used up.
func (n *Network) accept(r *tcp.ForwarderRequest, s *session, wanted bool) bool {
	if !wanted {
		r.Complete(true)
		return false
	}
	ep, err := r.CreateEndpoint(&s.queue)
	r.Complete(false)
	if err != nil {
		return false
	}
	s.ep = ep
	return true
}

// refuseAttempt tells the guest why the other side could not be reached, as far as TCP and ICMP have words
// for it. A timeout is told by silence.
func (n *Network) refuseAttempt(r *tcp.ForwarderRequest, a *attempt, err error) {
	id := r.ID()
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		r.Complete(false)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		r.Complete(false)
		n.sendUnreachable(header.ICMPv4HostUnreachable, header.TCPProtocolNumber, id, a.sequence)
	default:
		r.Complete(true)
	}
}

// dial opens the host's side of a connection. The address is the one that was judged: what is dialled is
// compared with it once more when the socket connects.
func (n *Network) dial(ctx context.Context, dst netip.AddrPort) (*net.TCPConn, error) {
	target := n.hooks.redirect(dst)
	dialer := net.Dialer{Timeout: dialTimeout, Control: only(target)}
	conn, err := dialer.DialContext(ctx, "tcp4", target.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// only makes a dialer's check that nothing but the target is connected to.
func only(target netip.AddrPort) func(string, string, syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		if got, err := netip.ParseAddrPort(address); err != nil || got != target {
			return fmt.Errorf("cannot connect to %s: %w", address, unix.EPERM)
		}
		return nil
	}
}
