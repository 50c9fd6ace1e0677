package network

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/socketpair/socketpairtest"
	"go.uber.org/goleak"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

func TestMain(m *testing.M) {
	if os.Getenv(farGuestVariable) != "" {
		runFarGuest()
		return
	}
	goleak.VerifyTestMain(m)
}

// world is the internet of a test: every address answers, on loopback. Port 443 speaks TLS, 80 HTTP, 7 echoes
// by TCP and UDP; whatever else is in ports is what the test put there, and all others are closed.
type world struct {
	t     testing.TB
	mu    sync.Mutex
	names map[string][]netip.Addr
	ports map[uint16]netip.AddrPort
	own   []netip.Addr
	seen  []netip.AddrPort // what was connected to
	lines []Decision
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, names: map[string][]netip.Addr{}, ports: map[uint16]netip.AddrPort{}}
	hello := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, "hello ", r.Host)
	})
	plain, secure := httptest.NewServer(hello), httptest.NewUnstartedServer(hello)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	w.ports[80] = netip.MustParseAddrPort(plain.Listener.Addr().String())
	w.ports[443] = netip.MustParseAddrPort(secure.Listener.Addr().String())
	w.listen(7, func(c *net.TCPConn) {
		io.Copy(c, c)
		c.CloseWrite()
	})
	echo, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(w.ports[7]))
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			size, from, err := echo.ReadFrom(buf)
			if err != nil {
				return
			}
			echo.WriteTo(buf[:size], from)
		}
	})
	t.Cleanup(func() { echo.Close(); done.Wait() })
	return w
}

// listen serves the connections to a port of the world until the test ends.
func (w *world) listen(port uint16, serve func(*net.TCPConn)) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			running.Go(func() { defer c.Close(); serve(c.(*net.TCPConn)) })
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	w.ports[port] = netip.MustParseAddrPort(l.Addr().String())
}

// set makes a name resolve to the addresses.
func (w *world) set(name string, addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[name] = nil
	for _, a := range addrs {
		w.names[name] = append(w.names[name], netip.MustParseAddr(a))
	}
}

// LookupNetIP implements resolver.
func (w *world) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if network != "ip4" {
		return nil, errors.New("IPv6 was asked for")
	}
	addrs, found := w.names[host[:len(host)-1]]
	if !found || host[len(host)-1] != '.' {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

func (w *world) redirect(dst netip.AddrPort) netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, dst)
	if to, found := w.ports[dst.Port()]; found {
		return to
	}
	return netip.MustParseAddrPort("127.0.0.1:1") // nobody listens there
}

func (w *world) connectedTo() []netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]netip.AddrPort(nil), w.seen...)
}

func (w *world) decisions() []Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Decision(nil), w.lines...)
}

// config is a configuration in which the world is the internet.
func (w *world) config(allow ...string) Config {
	return Config{
		Allow: allow,
		Log: func(d Decision) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lines = append(w.lines, d)
		},
		hooks: hooks{
			resolver: w,
			records:  zones{},
			hosts:    &hostsFile{path: "/nonexistent"},
			redirect: w.redirect,
			own:      func() []netip.Addr { return w.own },
		},
	}
}

// machine is a second stack, behind a socket that speaks frames like QEMU's.
type machine struct {
	stack *stack.Stack
	link  *link
	conn  net.Conn
	done  sync.WaitGroup
	other func(frame []byte) bool // sees each frame first, true if it is not for the stack
}

func newMachine(cfg GuestConfig, conn net.Conn) *machine {
	mac, _ := net.ParseMAC(cfg.MAC)
	m := &machine{conn: conn, link: newLink(gatewayMAC(), &counters{})}
	m.link.gateway = tcpip.LinkAddress(mac)
	m.link.attach()
	m.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol,
			icmp.NewProtocol4},
	})
	sack := tcpip.TCPSACKEnabled(true)
	m.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	m.stack.CreateNIC(nicID, m.link)
	prefix := netip.MustParsePrefix(cfg.Address)
	m.stack.AddProtocolAddress(nicID, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: stackAddr(prefix.Addr()), PrefixLen: prefix.Bits(),
		}}, stack.AddressProperties{})
	m.stack.SetRouteTable([]tcpip.Route{{
		Destination: header.IPv4EmptySubnet, Gateway: stackAddr(netip.MustParseAddr(cfg.Gateway)), NIC: nicID,
	}})
	m.done.Go(func() { m.link.writeTo(conn) })
	m.done.Go(m.readFrames)
	return m
}

// leave ends the machine.
func (m *machine) leave() {
	m.conn.Close()
	m.link.detach()
	m.done.Wait()
	m.stack.Close()
	m.stack.Wait()
}

func (m *machine) readFrames() {
	for {
		var length [4]byte
		if _, err := io.ReadFull(m.conn, length[:]); err != nil {
			return
		}
		view := buffer.NewViewSize(int(binary.BigEndian.Uint32(length[:])))
		if _, err := io.ReadFull(m.conn, view.AsSlice()); err != nil {
			return
		}
		if m.other != nil && m.other(view.AsSlice()) {
			continue
		}
		m.link.deliver(view)
	}
}

// guest is a machine on a network.
type guest struct {
	*machine
	t        testing.TB
	net      *Network
	patience time.Duration // with which it waits for an answer
}

func newNetwork(t testing.TB, cfg Config) *Network {
	n, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return n
}

// newGuest starts a network and a guest on it, both gone when the test ends.
func newGuest(t testing.TB, cfg Config) *guest {
	return joinGuest(t, newNetwork(t, cfg))
}

func joinGuest(t testing.TB, n *Network) *guest {
	inside, outside := socketpairtest.Conns(t)
	g := &guest{
		t:        t,
		net:      n,
		patience: 10 * time.Second,
		machine:  newMachine(n.Guest(), inside),
	}
	g.done.Go(func() { n.Serve(outside) })
	t.Cleanup(g.leave)
	return g
}

// dial connects to address:port.
func (g *guest) dial(address string) (*gonet.TCPConn, error) {
	return g.machine.dial(address, g.patience)
}

func (m *machine) dial(address string, patience time.Duration) (*gonet.TCPConn, error) {
	to := netip.MustParseAddrPort(address)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return gonet.DialContextTCP(ctx, m.stack, tcpip.FullAddress{Addr: stackAddr(to.Addr()), Port: to.Port()},
		ipv4.ProtocolNumber)
}

func (g *guest) mustDial(address string) *gonet.TCPConn {
	g.t.Helper()
	conn, err := g.dial(address)
	if err != nil {
		g.t.Fatalf("dial %s: %v", address, err)
	}
	return conn
}

func (g *guest) dialUDP(address string) *gonet.UDPConn {
	g.t.Helper()
	to := netip.MustParseAddrPort(address)
	conn, err := gonet.DialUDP(g.stack, nil, &tcpip.FullAddress{Addr: stackAddr(to.Addr()), Port: to.Port()},
		ipv4.ProtocolNumber)
	if err != nil {
		g.t.Fatal(err)
	}
	return conn
}

// resolver asks the network's name server, over TCP if the first query says so.
func (g *guest) resolver(protocol string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		if protocol == "tcp" || network == "tcp" {
			return g.dial(g.net.Guest().DNS + ":53")
		}
		return g.dialUDP(g.net.Guest().DNS + ":53"), nil
	}}
}

func (g *guest) lookup(name string) ([]netip.Addr, error) {
	return g.resolver("udp").LookupNetIP(g.t.Context(), "ip4", name+".")
}

// secure makes a TLS connection to the address that asks for the name.
func (g *guest) secure(address, name string) error {
	conn, err := g.dial(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(g.patience))
	return tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
}

// serveHTTP runs a server in the guest until the test ends.
func serveHTTP(t *testing.T, g *guest, port uint16) {
	l, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprint(rw, "from the guest to ", host)
	})}
	g.done.Go(func() { server.Serve(l) })
	t.Cleanup(func() { server.Close(); l.Shutdown() })
}
