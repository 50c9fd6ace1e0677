// Package network is the guest's network, ended in our process: a TCP/IP stack in user space behind the
// guest's Ethernet device, a policy that says where connections may go, a name server, and published ports.
//
// The guest is alone on a link of two addresses. Whatever it sends is judged here: TCP connections and UDP
// flows that the policy allows become ordinary sockets of this process, so no privilege is needed and
// everything goes when the process does. Everything that the guest sends is hostile until it is checked:
// frames, names and headers are bounded, and so is the memory that a guest can make us use (see limits.go).
//
// What is not here: IPv6 (such frames are dropped), DHCP (the address is configured by the agent), and any
// ARP but the answer for the gateway. Connecting to the gateway's address means this host's loopback, where
// an address rule opens it; its port 53 is the name server. So is port 53 of every other address that no
// address rule opens: questions to a foreign resolver are answered by pyro's, under the policy.
package network

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// The link's two addresses come from a range reserved for exactly such links (RFC 7335), so that they are
// never those of a network which a rule names.
const (
	guestAddress   = "192.0.0.2"
	gatewayAddress = "192.0.0.1"
	linkBits       = 29
)

// MTU is the link's. It is large because each packet costs the guest much more than each byte does.
const MTU = 65520

// Config is what [New] needs. The zero value is a guest that reaches the public internet.
type Config struct {
	// HOST[:PORT], *.DOMAIN[:PORT], ADDRESS[:PORT] or CIDR[:PORT], each with /tcp or /udp or without; see
	// [Policy]
	Allow []string
	// [HOST_IP:]HOST_PORT:GUEST_PORT; the default address is 127.0.0.1, host port 0 is any free one
	Publish []string
	// Ports of this host's loopback that the guest reaches by HostName, beside what else it may reach
	Host    []int
	Inbound bool // without rules the guest reaches nothing: the network is for the published ports alone
	// Inside connects to a server on the guest's own loopback, where published ports lead if nobody listens
	// at the guest's address. nil is not to.
	Inside func(ctx context.Context, port int) (Conn, error)
	MAC    string         // the guest's; empty is a random one
	Log    func(Decision) // told of every decision, one at a time; it must not block for long

	hooks hooks
}

// Conn is a connection, each direction of which ends by itself.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// hooks are for tests, which have no internet.
type hooks struct {
	resolver resolver
	records  recordSource
	hosts    *hostsFile
	redirect func(netip.AddrPort) netip.AddrPort // where an allowed destination really is
	own      func() []netip.Addr
	now      func() time.Time
}

// GuestConfig is what the agent needs to configure the guest's device.
type GuestConfig struct {
	MAC     string `json:"mac"`
	Address string `json:"address"` // in CIDR notation
	Gateway string `json:"gateway"`
	DNS     string `json:"dns"`
	MTU     int    `json:"mtu"`
}

// Network is one guest's network. Its methods may be called from any goroutine.
type Network struct {
	policy   *Policy
	hooks    hooks
	inside   func(ctx context.Context, port int) (Conn, error)
	insides  chan struct{} // one element for each connection through it
	mac      net.HardwareAddr
	guest    netip.Addr
	gateway  netip.Addr
	stack    *stack.Stack
	link     *link
	answers  *answers
	journal  *journal
	counters counters
	sessions *sessions
	flows    *flows
	lookups  chan struct{} // one element for each name question in progress
	noEcho   atomic.Bool   // this host gives us no echo sockets

	published []Published
	listeners []net.Listener

	cancel context.CancelFunc
	tasks  sync.WaitGroup // goroutines of connections, flows, listeners

	mu     sync.Mutex
	conn   interface{ Close() error } // of the Serve call in progress
	served sync.WaitGroup
	closed bool
}

// New checks the configuration, binds the published ports and starts the stack. The context bounds the call
// alone. The caller must Close the network.
func New(ctx context.Context, cfg Config) (*Network, error) {
	policy, err := Parse(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.MAC == "" {
		cfg.MAC = RandomMAC()
	}
	mac, err := net.ParseMAC(cfg.MAC)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || mac.String() == gatewayMAC().String() {
		return nil, fmt.Errorf("cannot give the guest the address %q: not a unicast Ethernet address",
			cfg.MAC)
	}
	if cfg.hooks.resolver == nil {
		cfg.hooks.resolver = &net.Resolver{}
	}
	if cfg.hooks.records == nil {
		cfg.hooks.records = servers{"/etc/resolv.conf"}
	}
	if cfg.hooks.hosts == nil {
		cfg.hooks.hosts = &hostsFile{path: "/etc/hosts"}
	}
	if cfg.hooks.redirect == nil {
		cfg.hooks.redirect = func(a netip.AddrPort) netip.AddrPort { return a }
	}
	if cfg.hooks.now == nil {
		cfg.hooks.now = time.Now
	}
	n := &Network{
		policy:   policy,
		hooks:    cfg.hooks,
		inside:   cfg.Inside,
		insides:  make(chan struct{}, maxInside),
		mac:      mac,
		guest:    netip.MustParseAddr(guestAddress),
		gateway:  netip.MustParseAddr(gatewayAddress),
		answers:  &answers{byAddr: map[netip.Addr]map[string]time.Time{}},
		journal:  &journal{log: cfg.Log, now: cfg.hooks.now, tokens: journalBurst},
		sessions: newSessions(),
		flows:    &flows{byKey: map[flowKey]*flow{}},
		lookups:  make(chan struct{}, maxLookups),
	}
	n.link = newLink(mac, &n.counters)
	if n.listeners, n.published, err = bind(ctx, policy.publish); err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	if n.stack, err = n.newStack(life); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	for i := range n.listeners {
		n.spawn(func() { n.publish(life, n.listeners[i], n.published[i].GuestPort) })
	}
	n.spawn(func() { n.sweep(life) })
	return n, nil
}

// spawn runs f in a goroutine that Close waits for. It must be called from such a goroutine, from Serve or
// from New.
func (n *Network) spawn(f func()) {
	n.tasks.Go(f)
}

// Guest tells how the guest's device is to be configured.
func (n *Network) Guest() GuestConfig {
	return GuestConfig{
		MAC:     n.mac.String(),
		Address: fmt.Sprintf("%s/%d", n.guest, linkBits),
		Gateway: n.gateway.String(),
		DNS:     n.gateway.String(),
		MTU:     MTU,
	}
}

// Close ends the guest's connection, all that goes through the network and the published ports, and returns
// when no goroutine of the network is left.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	var errs []error
	if n.conn != nil {
		if err := n.conn.Close(); !errors.Is(err, net.ErrClosed) { // Serve closes it, too
			errs = append(errs, err)
		}
	}
	n.mu.Unlock()
	n.cancel()
	for _, l := range n.listeners {
		errs = append(errs, l.Close())
	}
	n.link.detach()
	n.served.Wait()
	n.endTraffic()

	done := make(chan struct{})
	go func() { n.tasks.Wait(); close(done) }()
	for running := true; running; {
		// A handshake that began a moment ago is known to the stack alone, and can only be ended there.
		n.abortEndpoints()
		select {
		case <-done:
			running = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	if n.stack != nil {
		n.stack.Close()
		n.stack.Wait()
	}
	return errors.Join(errs...)
}

// abortEndpoints ends whatever the stack still knows of.
func (n *Network) abortEndpoints() {
	if n.stack == nil {
		return
	}
	for _, e := range n.stack.RegisteredEndpoints() {
		e.Abort()
	}
}

// endTraffic resets all connections and forgets all flows: their guest is gone.
func (n *Network) endTraffic() {
	n.sessions.abortAll()
	n.flows.closeAll()
	n.abortEndpoints()
}

// RandomMAC makes a unicast, locally administered Ethernet address.
func RandomMAC() string {
	mac := make(net.HardwareAddr, 6)
	rand.Read(mac)
	mac[0] = mac[0]&^1 | 2
	return mac.String()
}

// gatewayMAC is our own address on the link.
func gatewayMAC() net.HardwareAddr { return net.HardwareAddr{0x02, 'p', 'y', 'r', 'o', 0x01} }
