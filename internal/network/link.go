package network

import (
	"encoding/binary"
	"io"
	"net"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the stack's end of the Ethernet cable. What the stack sends waits in a queue that one goroutine
// empties into the guest's connection. Senders of data wait while the queue is full, which is how a slow
// guest slows down those who send to it; short packets, which the reading side sends too, are dropped
// instead, so that reading never waits for writing.
type link struct {
	guest    tcpip.LinkAddress
	gateway  tcpip.LinkAddress
	counters *counters

	mu         sync.Mutex
	changed    sync.Cond // the queue got shorter, longer, or was attached or detached
	queue      []*stack.PacketBuffer
	bytes      int
	attached   bool
	dispatcher stack.NetworkDispatcher
}

var _ stack.LinkEndpoint = (*link)(nil)

func newLink(guest net.HardwareAddr, c *counters) *link {
	l := &link{guest: tcpip.LinkAddress(guest), gateway: tcpip.LinkAddress(gatewayMAC()), counters: c}
	l.changed.L = &l.mu
	return l
}

// attach says that there is a guest; what is queued from now on is for it.
func (l *link) attach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attached = true
}

// detach drops what is queued and lets all who wait go.
func (l *link) detach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attached = false
	for _, pkt := range l.queue {
		pkt.DecRef()
	}
	l.queue, l.bytes = nil, 0
	l.changed.Broadcast()
}

func (l *link) isAttached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.attached
}

// shortPacket is the size up to which a packet never makes its sender wait. The stack's ICMP errors, which
// the reading side sends, are shorter.
const shortPacket = 640

// cost is what a packet takes of the queue: its bytes and what is kept about it.
func cost(pkt *stack.PacketBuffer) int { return pkt.Size() + 256 }

// enqueue takes over a reference to the packet.
func (l *link) enqueue(pkt *stack.PacketBuffer, wait bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for wait && l.attached && l.bytes >= outQueue {
		l.changed.Wait()
	}
	if !l.attached || l.bytes >= 2*outQueue {
		pkt.DecRef()
		return false
	}
	l.queue = append(l.queue, pkt)
	l.bytes += cost(pkt)
	if len(l.queue) == 1 {
		l.changed.Broadcast()
	}
	return true
}

// send queues a frame that did not come from the stack. It never waits: such a frame may be lost.
func (l *link) send(frame []byte) {
	l.enqueue(stack.NewPacketBuffer(stack.PacketBufferOptions{
		Payload: buffer.MakeWithView(buffer.NewViewWithData(frame)),
	}), false)
}

// take waits for packets and removes as many from the queue as fit into size bytes, at least one. It returns
// nil once the link is detached.
func (l *link) take(batch []*stack.PacketBuffer, size int) []*stack.PacketBuffer {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.attached && len(l.queue) == 0 {
		l.changed.Wait()
	}
	used, i := 0, 0
	for ; i < len(l.queue); i++ {
		used += 4 + l.queue[i].Size()
		if i > 0 && used > size {
			break
		}
		batch = append(batch, l.queue[i])
		l.bytes -= cost(l.queue[i])
	}
	rest := copy(l.queue, l.queue[i:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	l.changed.Broadcast()
	return batch
}

// writeTo sends the queue to the guest, each frame behind its length, until the link is detached or the
// connection breaks.
func (l *link) writeTo(w io.Writer) error {
	var batch []*stack.PacketBuffer
	var out []byte
	for {
		batch = l.take(batch[:0], 4+maxFrame)
		if len(batch) == 0 {
			return nil
		}
		out = out[:0]
		for _, pkt := range batch {
			out = binary.BigEndian.AppendUint32(out, uint32(pkt.Size()))
			for _, part := range pkt.AsSlices() {
				out = append(out, part...)
			}
			l.counters.in.Add(int64(pkt.Size()))
			pkt.DecRef()
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
	}
}

// deliver hands a checked Ethernet frame to the stack.
func (l *link) deliver(view *buffer.View) {
	l.mu.Lock()
	d := l.dispatcher
	l.mu.Unlock()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(view)})
	defer pkt.DecRef()
	if _, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize); ok && d != nil {
		d.DeliverNetworkPacket(header.IPv4ProtocolNumber, pkt)
	}
}

// WritePackets implements stack.LinkWriter.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for i, pkt := range pkts.AsSlice() {
		if !l.enqueue(pkt.Clone(), pkt.Size() > shortPacket) {
			return i, &tcpip.ErrNoBufferSpace{}
		}
	}
	return pkts.Len(), nil
}

// AddHeader implements stack.LinkEndpoint: there is only one neighbour, so nothing has to be resolved.
func (l *link) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{
		SrcAddr: l.gateway, DstAddr: l.guest, Type: pkt.NetworkProtocolNumber,
	})
}

// Attach implements stack.LinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

// IsAttached implements stack.LinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dispatcher != nil
}

// MTU implements stack.LinkEndpoint.
func (l *link) MTU() uint32 { return MTU }

// SetMTU implements stack.LinkEndpoint.
func (l *link) SetMTU(uint32) {}

// MaxHeaderLength implements stack.LinkEndpoint.
func (l *link) MaxHeaderLength() uint16 { return header.EthernetMinimumSize }

// LinkAddress implements stack.LinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return l.gateway }

// SetLinkAddress implements stack.LinkEndpoint.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.LinkEndpoint.
func (l *link) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityNone }

// Wait implements stack.LinkEndpoint.
func (l *link) Wait() {}

// ARPHardwareType implements stack.LinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// ParseHeader implements stack.LinkEndpoint.
func (l *link) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close implements stack.LinkEndpoint.
func (l *link) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}
