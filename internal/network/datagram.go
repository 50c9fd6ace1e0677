package network

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// flowKey is a port of the guest, or the identifier of its echo requests, and a destination as the guest sees
// it.
type flowKey struct {
	echo bool
	port uint16
	dst  netip.AddrPort
}

// flow is the socket that carries the datagrams of one key.
type flow struct {
	conn  *net.UDPConn
	moved atomic.Int64
}

// flows knows all flows and keeps their number down.
type flows struct {
	mu    sync.Mutex
	byKey map[flowKey]*flow
}

func (f *flows) get(key flowKey) *flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := f.byKey[key]
	if found != nil {
		found.moved.Store(time.Now().UnixNano())
	}
	return found
}

// add notes a new flow, in the place of the longest idle one if there are too many.
func (f *flows) add(key flowKey, conn *net.UDPConn) *flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.byKey) >= maxFlows {
		var oldest flowKey
		var since int64
		for k, candidate := range f.byKey {
			if moved := candidate.moved.Load(); since == 0 || moved < since {
				oldest, since = k, moved
			}
		}
		f.byKey[oldest].conn.Close()
		delete(f.byKey, oldest)
	}
	added := &flow{conn: conn}
	added.moved.Store(time.Now().UnixNano())
	f.byKey[key] = added
	return added
}

func (f *flows) remove(key flowKey, gone *flow) {
	gone.conn.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byKey[key] == gone {
		delete(f.byKey, key)
	}
}

func (f *flows) closeAll() { f.closeIdle(time.Now().Add(2 * flowTimeout)) }

func (f *flows) closeIdle(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, candidate := range f.byKey {
		if now.Sub(time.Unix(0, candidate.moved.Load())) > flowTimeout {
			candidate.conn.Close()
			delete(f.byKey, key)
		}
	}
}

// handleDatagram sees every UDP datagram. False leaves a malformed one to the stack.
func (n *Network) handleDatagram(
	life context.Context, id stack.TransportEndpointID, pkt *stack.PacketBuffer,
) bool {
	udp, ip := header.UDP(pkt.TransportHeader().Slice()), pkt.Network()
	sizeOK, sumOK := header.UDPValid(udp, pkt.Data().Checksum, uint16(pkt.Data().Size()),
		header.IPv4ProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), false)
	if !sizeOK || !sumOK || !fromUnicast(id) {
		return false
	}
	payload := pkt.Data().AsRange().Capped(int(udp.Length()) - header.UDPMinimumSize).ToSlice()
	dst := n.destination(id.LocalAddress, id.LocalPort)
	if n.isNameServer("udp", id.LocalAddress, dst) {
		n.serveNamesUDP(life, id, payload)
		return true
	}
	key := flowKey{port: id.RemotePort, dst: dst}
	f := n.flows.get(key)
	if f == nil {
		v := n.policy.judge("udp", dst, n.answers.names(dst.Addr(), n.hooks.now()))
		n.decided("udp", dst, v)
		if !v.allowed {
			n.sendUnreachable(header.ICMPv4PortUnreachable, header.UDPProtocolNumber, id, 0)
			return true
		}
		target := n.hooks.redirect(dst)
		dialer := net.Dialer{Control: only(target)}
		conn, err := dialer.DialContext(life, "udp4", target.String())
		if err != nil {
			n.counters.failed.Add(1)
			n.sendUnreachable(header.ICMPv4PortUnreachable, header.UDPProtocolNumber, id, 0)
			return true
		}
		f = n.flows.add(key, conn.(*net.UDPConn))
		n.spawn(func() { n.receive(key, f, id) })
	}
	f.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	f.conn.Write(payload)
	return true
}

// receive brings what comes back on a flow to the guest until the flow is closed.
func (n *Network) receive(key flowKey, f *flow, id stack.TransportEndpointID) {
	defer n.flows.remove(key, f)
	raw, err := f.conn.SyscallConn()
	if err != nil {
		return
	}
	for {
		var got []byte
		var rerr error
		// The buffer is taken only when something has come, and holds the largest datagram the link can
		// carry.
		err := raw.Read(func(fd uintptr) bool {
			buf := datagramBuffers.Get().(*[MTU]byte)
			defer datagramBuffers.Put(buf)
			var count int
			count, rerr = ignoreInterrupt(func() (int, error) { return unix.Read(int(fd), buf[:]) })
			if rerr == nil {
				got = append([]byte(nil), buf[:count]...)
			}
			return rerr != unix.EAGAIN
		})
		switch {
		case err != nil:
			return
		case rerr == syscall.ECONNREFUSED:
			n.sendUnreachable(header.ICMPv4PortUnreachable, header.UDPProtocolNumber, id, 0)
			return
		case rerr != nil:
			return
		}
		f.moved.Store(time.Now().UnixNano())
		if key.echo {
			n.sendEchoReply(key, got)
		} else {
			n.sendUDP(id, got)
		}
	}
}

var datagramBuffers = sync.Pool{New: func() any { return new([MTU]byte) }}
