package network

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/socketpair/socketpairtest"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// rawGuest speaks frames itself.
type rawGuest struct {
	t    *testing.T
	net  *Network
	conn net.Conn
	got  chan []byte
	err  chan error // what Serve returned
}

func newRawGuest(t *testing.T, n *Network) *rawGuest {
	inside, outside := socketpairtest.Conns(t)
	r := &rawGuest{
		t:    t,
		net:  n,
		conn: inside,
		got:  make(chan []byte, 100),
		err:  make(chan error, 1),
	}
	go func() { r.err <- n.Serve(outside) }()
	go func() {
		defer close(r.got)
		m := machine{conn: inside, other: func(frame []byte) bool {
			r.got <- bytes.Clone(frame)
			return true
		}}
		m.readFrames()
	}()
	t.Cleanup(func() {
		inside.Close()
		for range r.got {
		}
	})
	return r
}

func (r *rawGuest) send(frame []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))),
		frame...)); err != nil {
		r.t.Fatal(err)
	}
}

// answer returns the answer to the frame, nil if there is none: a ping that follows is answered first.
func (r *rawGuest) answer(frame []byte) []byte {
	r.t.Helper()
	r.send(frame)
	r.send(r.frame(gatewayAddress, ping(9, "marker")))
	first := <-r.got
	if bytes.HasSuffix(first, []byte("marker")) {
		return nil
	}
	<-r.got
	return first
}

// frame is an Ethernet frame with an IPv4 packet from the guest.
func (r *rawGuest) frame(to string, icmp []byte) []byte {
	return ethernet(r.net, header.IPv4ProtocolNumber, packetV4(guestAddress, to, 1, icmp))
}

func ethernet(n *Network, kind tcpip.NetworkProtocolNumber, body []byte) []byte {
	frame := make([]byte, header.EthernetMinimumSize, header.EthernetMinimumSize+len(body))
	copy(frame, n.link.gateway)
	copy(frame[6:], n.link.guest)
	binary.BigEndian.PutUint16(frame[12:], uint16(kind))
	return append(frame, body...)
}

func packetV4(from, to string, protocol uint8, payload []byte) []byte {
	packet := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(payload))
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(packet) + len(payload)),
		TTL:         64,
		Protocol:    protocol,
		SrcAddr:     stackAddr(netip.MustParseAddr(from)),
		DstAddr:     stackAddr(netip.MustParseAddr(to)),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	return append(packet, payload...)
}

func ping(id uint16, payload string) []byte {
	message := header.ICMPv4(append(make([]byte, header.ICMPv4MinimumSize), payload...))
	message.SetType(header.ICMPv4Echo)
	message.SetIdent(id)
	message.SetChecksum(header.ICMPv4Checksum(message, 0))
	return message
}

func datagram(from, to string, port uint16, payload string) []byte {
	udp := header.UDP(append(make([]byte, header.UDPMinimumSize), payload...))
	udp.Encode(&header.UDPFields{SrcPort: 1000, DstPort: port, Length: uint16(len(udp))})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, stackAddr(netip.MustParseAddr(from)),
		stackAddr(netip.MustParseAddr(to)), uint16(len(udp)))
	udp.SetChecksum(^udp.CalculateChecksum(checksum.Checksum(udp.Payload(), sum)))
	return packetV4(from, to, uint8(header.UDPProtocolNumber), udp)
}

func arpFor(n *Network, sender net.HardwareAddr, from, target string) []byte {
	arp := header.ARP(make([]byte, header.ARPSize))
	arp.SetIPv4OverEthernet()
	arp.SetOp(header.ARPRequest)
	copy(arp.HardwareAddressSender(), sender)
	copy(arp.ProtocolAddressSender(), netip.MustParseAddr(from).AsSlice())
	copy(arp.ProtocolAddressTarget(), netip.MustParseAddr(target).AsSlice())
	frame := ethernet(n, header.ARPProtocolNumber, arp)
	copy(frame, bytes.Repeat([]byte{0xff}, 6))
	return frame
}

// TestFrames is a table of frames and whether there is an answer.
func TestFrames(t *testing.T) {
	w := newWorld(t)
	n := newNetwork(t, w.config())
	r := newRawGuest(t, n)
	mac, stranger := net.HardwareAddr(n.mac), net.HardwareAddr{2, 0, 0, 0, 0, 9}
	change := func(frame []byte, at int, to ...byte) []byte {
		out := bytes.Clone(frame)
		copy(out[at:], to)
		return out
	}
	good := ethernet(n, header.IPv4ProtocolNumber, datagram(guestAddress, listed, 7, "ping"))
	const ip = header.EthernetMinimumSize
	options := ethernet(n, header.IPv4ProtocolNumber,
		append(packetV4(guestAddress, listed, 17, nil)[:20], make([]byte, 40)...))
	r.send(good)
	if answer := <-r.got; !bytes.HasSuffix(answer, []byte("ping")) {
		t.Errorf("the good frame is answered with %x", answer)
	}
	for what, row := range map[string]struct {
		frame  []byte
		answer string
	}{
		"ARP for the gateway":     {arpFor(n, mac, guestAddress, gatewayAddress), string(n.link.gateway)},
		"ARP probe":               {arpFor(n, mac, "0.0.0.0", gatewayAddress), string(n.link.gateway)},
		"ARP for another":         {arpFor(n, mac, guestAddress, "192.0.0.3"), ""},
		"ARP for itself":          {arpFor(n, mac, guestAddress, guestAddress), ""},
		"ARP as another":          {arpFor(n, mac, "192.0.0.3", gatewayAddress), ""},
		"ARP with two addresses":  {arpFor(n, stranger, guestAddress, gatewayAddress), ""},
		"ARP as the gateway":      {arpFor(n, mac, gatewayAddress, gatewayAddress), ""},
		"an ARP reply":            {change(arpFor(n, mac, guestAddress, gatewayAddress), ip+7, 2), ""},
		"half an ARP":             {arpFor(n, mac, guestAddress, gatewayAddress)[:30], ""},
		"a false Ethernet source": {change(good, 6, stranger...), ""},
		"another Ethernet target": {change(good, 0, stranger...), ""},
		"Ethernet broadcast":      {change(good, 0, 255, 255, 255, 255, 255, 255), ""},
		"a false source":          {ethernet(n, 0x800, datagram("192.0.0.3", listed, 7, "ping")), ""},
		"the gateway as source":   {ethernet(n, 0x800, datagram(gatewayAddress, listed, 7, "ping")), ""},
		"loopback as source":      {ethernet(n, 0x800, datagram("127.0.0.1", listed, 7, "ping")), ""},
		"DHCP": {ethernet(n, 0x800,
			datagram("0.0.0.0", "255.255.255.255", 67, "discover")), ""},
		"broadcast": {ethernet(n, 0x800,
			datagram(guestAddress, "255.255.255.255", 7, "ping")), ""},
		"loopback as target": {ethernet(n, 0x800, datagram(guestAddress, "127.0.0.1", 7, "ping")), ""},
		"the guest as target": {ethernet(n, 0x800, datagram(guestAddress, guestAddress, 7, "ping")),
			""},
		"a wrong header sum":        {change(good, ip+10, 1, 2), ""},
		"a wrong datagram sum":      {change(good, ip+26, 1, 2), ""},
		"a length beyond the frame": {change(good, ip+2, 0xff, 0xff), ""},
		"a length below the header": {change(good, ip+2, 0, 19), ""},
		"a datagram too long":       {change(good, ip+24, 0xff, 0xff), ""},
		"IPv4 options":              {change(options, ip, 0x4f), ""},
		"IPv6 as IPv4":              {change(good, ip, 0x65), ""},
		"IPv6":                      {change(good, 12, 0x86, 0xdd), ""},
		"a VLAN":                    {change(good, 12, 0x81, 0), ""},
		"GRE": {ethernet(n, 0x800,
			packetV4(guestAddress, listed, 47, make([]byte, 40))), ""},
		"IGMP":             {ethernet(n, 0x800, packetV4(guestAddress, listed, 2, make([]byte, 8))), ""},
		"an echo reply":    {r.frame(listed, change(ping(1, "x"), 0, 0)), ""},
		"a short echo":     {r.frame(gatewayAddress, []byte{8, 0, 0}), ""},
		"no payload":       {ethernet(n, 0x800, nil), ""},
		"nothing":          {nil, ""},
		"a frame too long": {append(bytes.Clone(good), make([]byte, maxFrame)...), ""},
	} {
		dropped := n.Info().Counters.FramesDropped
		answer := r.answer(row.frame)
		if row.answer == "" && answer != nil || !bytes.Contains(answer, []byte(row.answer)) {
			t.Errorf("%s: answered with %x", what, answer)
		}
		silent := strings.Contains(what, " sum") || what == "a datagram too long" // the stack drops those
		if counted := n.Info().Counters.FramesDropped > dropped; counted != (row.answer == "") && !silent {
			t.Errorf("%s: counted as dropped is %v", what, counted)
		}
	}
	for _, dst := range w.connectedTo() {
		if dst.String() != listed+":7" {
			t.Errorf("connected to %v", dst)
		}
	}
	r.conn.Write([]byte{0xff, 0xff, 0xff, 0xff})
	if err := <-r.err; err == nil || !strings.Contains(err.Error(), "4294967295 bytes") {
		t.Errorf("a huge frame: %v", err)
	}
}

// TestEcho pings the gateway and, if this host has echo sockets for us, an address that is this host.
func TestEcho(t *testing.T) {
	w := newWorld(t)
	w.ports[0] = netip.MustParseAddrPort("127.0.0.1:0")
	r := newRawGuest(t, newNetwork(t, w.config()))
	if answer := r.answer(r.frame(gatewayAddress, ping(3, "hello"))); !bytes.HasSuffix(answer,
		[]byte("hello")) {
		t.Errorf("the gateway answers %x", answer)
	}
	if answer := r.answer(r.frame("10.0.0.1", ping(3, "hello"))); answer != nil {
		t.Errorf("a private address answers %x", answer)
	}
	r.send(r.frame(listed, ping(3, "hello")))
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP); err == nil {
		os.NewFile(uintptr(fd), "").Close()
		answer := header.ICMPv4((<-r.got)[header.EthernetMinimumSize+header.IPv4MinimumSize:])
		if answer.Type() != header.ICMPv4EchoReply || answer.Ident() != 3 ||
			string(answer.Payload()) != "hello" ||
			header.ICMPv4Checksum(answer, 0) != answer.Checksum() {
			t.Errorf("answer %x", answer)
		}
	} else {
		eventually(t, "the attempt is counted", func() bool {
			return r.net.Info().Counters.ConnectionsFailed == 1
		})
	}
}

// FuzzFrames gives frames to a network. What they try is judged by a policy that lets much through, to a host
// on which nothing answers.
func FuzzFrames(f *testing.F) {
	w := &world{t: f, names: map[string][]netip.Addr{}, ports: map[uint16]netip.AddrPort{}}
	cfg := w.config("0.0.0.0/0", "www.example.org")
	cfg.Log, cfg.MAC = nil, "02:00:00:00:00:01"
	cfg.hooks.redirect = func(netip.AddrPort) netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:1") }
	n := newNetwork(f, cfg)
	f.Add(ethernet(n, 0x800, datagram(guestAddress, listed, 7, "ping")))
	f.Add(ethernet(n, 0x800, datagram(guestAddress, gatewayAddress, 53,
		string(packQuestion(f, "www.example.org.", 1)))))
	f.Add(arpFor(n, n.mac, guestAddress, gatewayAddress))
	f.Add(ethernet(n, 0x800, packetV4(guestAddress, gatewayAddress, 1, ping(1, "x"))))
	f.Add(ethernet(n, 0x800, packetV4(guestAddress, listed, 1, ping(1, "x"))))
	f.Add(ethernet(n, 0x800, packetV4(guestAddress, listed, 6, []byte{
		4, 0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4,
	})))
	n.link.attach()
	go n.link.writeTo(discard{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < header.EthernetMinimumSize || len(frame) > maxFrame {
			return
		}
		// The sums would keep most of what is tried from going deep.
		if body := frame[header.EthernetMinimumSize:]; len(body) >= header.IPv4MinimumSize &&
			body[0] == 0x45 {
			ip := header.IPv4(bytes.Clone(body))
			ip.SetChecksum(0)
			ip.SetChecksum(^ip.CalculateChecksum())
			frame = append(bytes.Clone(frame[:header.EthernetMinimumSize]), ip...)
		}
		n.handleFrame(buffer.NewViewWithData(frame))
	})
}

// FuzzStream gives a network what QEMU might send.
func FuzzStream(f *testing.F) {
	n := newNetwork(f, Config{MAC: "02:00:00:00:00:01", Allow: []string{"www.example.org"}})
	f.Add([]byte{0, 0, 0, 1, 0})
	f.Add([]byte{0xff, 0, 0, 1, 0})
	frame := arpFor(n, n.mac, guestAddress, gatewayAddress)
	f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	f.Fuzz(func(t *testing.T, stream []byte) { n.readFrames(bytes.NewReader(stream)) })
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
