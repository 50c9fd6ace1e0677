package network

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// hugeFrame is more than QEMU ever sends: behind a longer one the stream is out of step.
const hugeFrame = 128 << 10

// Serve is the guest's Ethernet device: frames, each behind its length in four bytes, big-endian. It returns
// when the connection ends, nil at an orderly end, and closes it. Another call may follow, one at a time; it
// is another guest, since all connections of the former one are reset.
func (n *Network) Serve(conn io.ReadWriteCloser) error {
	n.mu.Lock()
	if n.closed || n.conn != nil {
		busy := n.conn != nil
		n.mu.Unlock()
		conn.Close()
		if busy {
			return errors.New("cannot serve a second guest on one network")
		}
		return errors.New("cannot serve a guest: the network is closed")
	}
	n.conn = conn
	n.served.Add(1)
	n.mu.Unlock()
	defer n.served.Done()

	n.link.attach()
	written := make(chan error, 1)
	go func() {
		err := n.link.writeTo(conn)
		if err != nil {
			conn.Close()
		}
		written <- err
	}()
	err := n.readFrames(conn)
	conn.Close()
	n.link.detach()
	if werr := <-written; err == nil {
		err = werr
	}
	n.endTraffic()

	n.mu.Lock()
	defer n.mu.Unlock()
	n.conn = nil
	if n.closed {
		return nil
	}
	return err
}

// readFrames reads frames to the end of the connection.
func (n *Network) readFrames(conn io.Reader) error {
	r := bufio.NewReaderSize(conn, 16<<10)
	var length [4]byte
	for {
		if _, err := io.ReadFull(r, length[:]); err != nil {
			if err == io.EOF {
				return nil
			}
			return fmt.Errorf("cannot read the guest's frames: %w", err)
		}
		size := int(binary.BigEndian.Uint32(length[:]))
		switch {
		case size > hugeFrame:
			return fmt.Errorf("cannot read the guest's frames: one of %d bytes is announced", size)
		case size > maxFrame || size < header.EthernetMinimumSize:
			n.counters.dropped.Add(1)
			if _, err := r.Discard(size); err != nil {
				return fmt.Errorf("cannot read the guest's frames: %w", err)
			}
			continue
		}
		view := buffer.NewViewSize(size)
		if _, err := io.ReadFull(r, view.AsSlice()); err != nil {
			view.Release()
			return fmt.Errorf("cannot read the guest's frames: %w", err)
		}
		n.counters.out.Add(int64(size))
		n.handleFrame(view)
	}
}

// handleFrame takes over the view.
func (n *Network) handleFrame(view *buffer.View) {
	frame := view.AsSlice()
	eth, body := header.Ethernet(frame), frame[header.EthernetMinimumSize:]
	fromGuest := string(eth.SourceAddress()) == string(n.mac)
	switch {
	case fromGuest && eth.Type() == header.ARPProtocolNumber:
		if reply := n.answerARP(body); reply != nil {
			n.link.send(reply)
			break
		}
		n.counters.dropped.Add(1)
	case fromGuest && eth.Type() == header.IPv4ProtocolNumber && eth.DestinationAddress() == n.link.gateway:
		switch n.sortIPv4(body) {
		case packetToStack:
			n.link.deliver(view)
			return
		case packetEcho:
			n.echo(header.IPv4(body))
		default:
			n.counters.dropped.Add(1)
		}
	default:
		n.counters.dropped.Add(1)
	}
	view.Release()
}

// packet is what becomes of an IPv4 packet.
type packet int

const (
	packetDropped packet = iota
	packetToStack
	packetEcho
)

// sortIPv4 checks what the stack is not asked to: that the packet is from the guest's own address to some
// one other address, has no options (source routes among them), and is of a protocol that we offer.
func (n *Network) sortIPv4(body []byte) packet {
	if len(body) < header.IPv4MinimumSize {
		return packetDropped
	}
	ip := header.IPv4(body)
	total := int(ip.TotalLength())
	if body[0] != 0x45 || total < header.IPv4MinimumSize || total > len(body) || total > MTU {
		return packetDropped
	}
	src, dst := ip.SourceAddress().As4(), netip.AddrFrom4(ip.DestinationAddress().As4())
	if netip.AddrFrom4(src) != n.guest || dst == n.guest {
		return packetDropped
	}
	if c := classOf(dst); c != nil && (c.never || dst.IsLoopback()) {
		return packetDropped
	}
	switch ip.Protocol() {
	case uint8(header.TCPProtocolNumber), uint8(header.UDPProtocolNumber):
		return packetToStack
	case uint8(header.ICMPv4ProtocolNumber):
		if ip.More() || ip.FragmentOffset() != 0 || !ip.IsChecksumValid() {
			return packetDropped
		}
		icmp := header.ICMPv4(ip[header.IPv4MinimumSize:total])
		if len(icmp) >= header.ICMPv4MinimumSize && icmp.Type() == header.ICMPv4Echo && icmp.Code() == 0 {
			return packetEcho
		}
	}
	return packetDropped
}

// answerARP answers the guest's question for the gateway, the only one that has an answer. Nothing is learnt
// from what the guest says about itself or others.
func (n *Network) answerARP(body []byte) []byte {
	if len(body) < header.ARPSize {
		return nil
	}
	arp := header.ARP(body[:header.ARPSize])
	gateway := n.gateway.As4()
	sender, _ := netip.AddrFromSlice(arp.ProtocolAddressSender())
	switch {
	case !arp.IsValid() || arp.Op() != header.ARPRequest:
		return nil
	case !bytes.Equal(arp.HardwareAddressSender(), n.mac):
		return nil
	case sender != n.guest && !sender.IsUnspecified():
		return nil
	case !bytes.Equal(arp.ProtocolAddressTarget(), gateway[:]):
		return nil
	}
	frame := make([]byte, header.EthernetMinimumSize+header.ARPSize)
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: n.link.gateway, DstAddr: n.link.guest, Type: header.ARPProtocolNumber,
	})
	reply := header.ARP(frame[header.EthernetMinimumSize:])
	reply.SetIPv4OverEthernet()
	reply.SetOp(header.ARPReply)
	copy(reply.HardwareAddressSender(), n.link.gateway)
	copy(reply.ProtocolAddressSender(), gateway[:])
	copy(reply.HardwareAddressTarget(), n.mac)
	copy(reply.ProtocolAddressTarget(), arp.ProtocolAddressSender())
	return frame
}
