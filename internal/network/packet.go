package network

import (
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// newPacket makes a frame for the guest with room for size bytes behind the IPv4 header.
func (n *Network) newPacket(
	src tcpip.Address, protocol tcpip.TransportProtocolNumber, size int,
) (frame, body []byte) {
	const before = header.EthernetMinimumSize + header.IPv4MinimumSize
	frame = make([]byte, before+size)
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: n.link.gateway, DstAddr: n.link.guest, Type: header.IPv4ProtocolNumber,
	})
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + size),
		Flags:       header.IPv4FlagDontFragment,
		TTL:         64,
		Protocol:    uint8(protocol),
		SrcAddr:     src,
		DstAddr:     stackAddr(n.guest),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	return frame, frame[before:]
}

// sendUDP sends a datagram to the guest as the answer to those of the flow. One that is too long for the link
// is lost.
func (n *Network) sendUDP(id stack.TransportEndpointID, payload []byte) {
	size := header.UDPMinimumSize + len(payload)
	if header.IPv4MinimumSize+size > MTU {
		return
	}
	frame, body := n.newPacket(id.LocalAddress, header.UDPProtocolNumber, size)
	udp := header.UDP(body)
	udp.Encode(&header.UDPFields{SrcPort: id.LocalPort, DstPort: id.RemotePort, Length: uint16(size)})
	copy(udp.Payload(), payload)
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, id.LocalAddress, id.RemoteAddress,
		uint16(size))
	sum = udp.CalculateChecksum(checksum.Checksum(payload, sum))
	if sum != 0xffff {
		sum = ^sum
	}
	udp.SetChecksum(sum)
	n.link.send(frame)
}

// sendUnreachable tells the guest by ICMP that what it sent could not be delivered. It quotes the headers
// that the guest must have sent, as far as the guest looks at them.
func (n *Network) sendUnreachable(
	code header.ICMPv4Code, protocol tcpip.TransportProtocolNumber, id stack.TransportEndpointID,
	sequence uint32,
) {
	const quoted = header.IPv4MinimumSize + 8
	frame, body := n.newPacket(stackAddr(n.gateway), header.ICMPv4ProtocolNumber, header.ICMPv4MinimumSize+
		quoted)
	icmp := header.ICMPv4(body)
	icmp.SetType(header.ICMPv4DstUnreachable)
	icmp.SetCode(code)
	ip := header.IPv4(icmp.Payload())
	ip.Encode(&header.IPv4Fields{
		TotalLength: quoted,
		TTL:         64,
		Protocol:    uint8(protocol),
		SrcAddr:     id.RemoteAddress,
		DstAddr:     id.LocalAddress,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	ports := header.UDP(ip[header.IPv4MinimumSize:])
	ports.SetSourcePort(id.RemotePort)
	ports.SetDestinationPort(id.LocalPort)
	if protocol == header.TCPProtocolNumber {
		header.TCP(ports).SetSequenceNumber(sequence)
	} else {
		ports.SetLength(header.UDPMinimumSize)
	}
	icmp.SetChecksum(header.ICMPv4Checksum(icmp, 0))
	n.link.send(frame)
}

// echo answers an echo request to the gateway, and passes one to an allowed address on through an
// unprivileged echo socket, if the host gives one. Else there is no answer. The packet has been
// checked.
func (n *Network) echo(ip header.IPv4) {
	request := header.ICMPv4(ip[header.IPv4MinimumSize:ip.TotalLength()])
	addr := netip.AddrFrom4(ip.DestinationAddress().As4())
	if addr == n.gateway {
		n.sendEchoReply(flowKey{port: request.Ident(), dst: netip.AddrPortFrom(addr, 0)}, request)
		return
	}
	key := flowKey{echo: true, port: request.Ident(), dst: netip.AddrPortFrom(addr, 0)}
	f := n.flows.get(key)
	if f == nil {
		v := n.policy.judge("icmp", key.dst, n.answers.names(addr, n.hooks.now()))
		n.decided("icmp", key.dst, v)
		if !v.allowed || n.noEcho.Load() {
			return
		}
		conn, err := dialEcho(n.hooks.redirect(key.dst).Addr())
		if err != nil {
			n.noEcho.Store(isRefused(err))
			n.counters.failed.Add(1)
			return
		}
		f = n.flows.add(key, conn)
		n.spawn(func() { n.receive(key, f, stack.TransportEndpointID{}) })
	}
	// The kernel puts an identifier of its own in and computes the checksum.
	f.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	f.conn.Write(request)
}

func isRefused(err error) bool {
	return err == unix.EACCES || err == unix.EPERM || err == unix.EPROTONOSUPPORT
}

// dialEcho opens a socket that sends echo requests to one address and gets their replies.
func dialEcho(addr netip.Addr) (*net.UDPConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC,
		unix.IPPROTO_ICMP)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "echo")
	defer file.Close()
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.As4()}); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// sendEchoReply gives the guest an echo message as the reply to its request.
func (n *Network) sendEchoReply(key flowKey, message []byte) {
	if len(message) < header.ICMPv4MinimumSize || header.IPv4MinimumSize+len(message) > MTU {
		return
	}
	frame, body := n.newPacket(stackAddr(key.dst.Addr()), header.ICMPv4ProtocolNumber, len(message))
	copy(body, message)
	reply := header.ICMPv4(body)
	reply.SetType(header.ICMPv4EchoReply)
	reply.SetCode(0)
	reply.SetIdent(key.port)
	reply.SetChecksum(0)
	reply.SetChecksum(header.ICMPv4Checksum(reply, 0))
	n.link.send(frame)
}
