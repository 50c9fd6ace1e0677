package supervisor

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
)

// Bounds of forwarded datagrams.
const (
	maxPeers     = 256              // that a port of the host talks with
	peerIdle     = 60 * time.Second // after which one is forgotten
	packetHeader = 2                // a datagram's length, little-endian
)

// listenUDP passes datagrams on, those of each peer over a conversation of its own.
func (f *forward) listenUDP(at string, end func()) error {
	addr, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return err
	}
	if own, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		f.what.HostPort = own.Port
	}
	f.close = func() { end(); conn.Close() }
	p := &peers{f: f, conn: conn, all: map[netip.AddrPort]*peer{}}
	go p.serve()
	return nil
}

// peers are those who talk with a port of the host.
type peers struct {
	f    *forward
	conn *net.UDPConn

	mu  sync.Mutex
	all map[netip.AddrPort]*peer
}

// peer is one of them.
type peer struct {
	packets chan []byte
	idle    *time.Timer
	end     context.CancelFunc
}

// serve reads until the socket is closed.
func (p *peers) serve() {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		packet := binary.LittleEndian.AppendUint16(make([]byte, 0, packetHeader+n), uint16(n))
		if to := p.find(from); to != nil {
			select {
			case to.packets <- append(packet, buffer[:n]...):
			default: // It is lost, as datagrams are.
			}
		}
	}
}

// find gives the peer of an address, nil if there are too many.
func (p *peers) find(from netip.AddrPort) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.all[from]; known != nil {
		known.idle.Reset(peerIdle)
		return known
	}
	if len(p.all) >= maxPeers {
		return nil
	}
	life, end := context.WithCancel(p.f.life)
	to := &peer{packets: make(chan []byte, 64), end: end, idle: time.AfterFunc(peerIdle, end)}
	p.all[from] = to
	go func() {
		defer end()
		p.carry(life, to, from)
		to.idle.Stop()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.all, from)
	}()
	return to
}

// carry talks for one peer with the guest.
func (p *peers) carry(life context.Context, to *peer, from netip.AddrPort) {
	g := p.f.s.current()
	if g == nil {
		return
	}
	inside, err := g.Dial(life, link.Dial{Port: p.f.what.GuestPort, UDP: true})
	if err != nil {
		return
	}
	defer inside.Close()
	p.f.count.Add(1)
	defer p.f.count.Add(-1)
	stop := context.AfterFunc(life, func() { inside.Close() })
	defer stop()
	var back sync.WaitGroup
	back.Go(func() {
		defer to.end()
		p.answer(inside, from, to)
	})
	defer back.Wait()
	for {
		select {
		case packet := <-to.packets:
			if _, err := inside.Write(packet); err != nil {
				return
			}
		case <-life.Done():
			return
		}
	}
}

// answer sends what the guest's server says to the peer.
func (p *peers) answer(inside io.Reader, to netip.AddrPort, of *peer) {
	var head [packetHeader]byte
	for {
		if _, err := io.ReadFull(inside, head[:]); err != nil {
			return
		}
		packet := make([]byte, binary.LittleEndian.Uint16(head[:]))
		if _, err := io.ReadFull(inside, packet); err != nil {
			return
		}
		of.idle.Reset(peerIdle)
		if _, err := p.conn.WriteToUDPAddrPort(packet, to); err != nil {
			return
		}
	}
}
