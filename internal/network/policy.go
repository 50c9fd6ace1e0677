package network

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Policy says where the guest may connect to. It is made by [Parse] and does not change.
//
// Without an allow-list the guest reaches the public internet: every IPv4 address but those in the table of
// special ranges and those of this host. If the network is for published ports alone it reaches nothing. With
// an allow-list it reaches only what is listed:
//
//   - an address or a range, whatever name is used for it. It is the only way to a special range or to this
//     host; a range opens a special one only if it lies within it (0.0.0.0/0 is the public internet), and an
//     address of this host only if it is that very address.
//   - a name: the public addresses that the name server of the gateway gave for it, over TCP, to those who
//     say which listed name they ask for (see checker). "*.example.org" is every name below example.org, at
//     any depth, but not example.org. "example.org:5432/tcp" opens one port to any protocol,
//     "example.org:123/udp" to datagrams: what is sent there can be for any name that shares the address.
type Policy struct {
	rules   []rule
	inbound bool // without rules nothing is reached
	publish []Published
	own     func() []netip.Addr // the host's own addresses
}

// class is a range of addresses that are not the public internet.
type class struct {
	prefix netip.Prefix
	word   string
	never  bool // there is no way to open it
}

// holds tells whether the range lies within the class.
func (c *class) holds(p netip.Prefix) bool {
	return p.Bits() >= c.prefix.Bits() && c.prefix.Contains(p.Addr())
}

// classes lists what is refused unless an address rule names it. The ranges for documentation (RFC 5737) are
// not among them: nothing of a host's own stands there, and where a closed network uses them, it is in place
// of public addresses.
func classes() []class {
	list := []struct {
		prefix, word string
		never        bool
	}{
		{"0.0.0.0/8", "unspecified", true},
		{"10.0.0.0/8", "private", false},
		{"100.64.0.0/10", "carrier-grade NAT", false},
		{"127.0.0.0/8", "loopback", false},
		{"168.63.129.16/32", "cloud platform", false},
		{"169.254.0.0/16", "link-local", false},
		{"172.16.0.0/12", "private", false},
		{"192.0.0.0/24", "reserved", false},
		{"192.88.99.0/24", "reserved", false},
		{"192.168.0.0/16", "private", false},
		{"198.18.0.0/15", "benchmarking", false},
		{"224.0.0.0/4", "multicast", true},
		{"240.0.0.0/4", "reserved or broadcast", true},
	}
	out := make([]class, len(list))
	for i, c := range list {
		out[i] = class{netip.MustParsePrefix(c.prefix), c.word, c.never}
	}
	return out
}

// specialRanges is computed once; nothing writes to it.
var specialRanges = classes()

// classOf finds the special range of an address; nil means the public internet. What is not IPv4 is in none
// of the ranges and must be kept out by the caller.
func classOf(addr netip.Addr) *class {
	addr = addr.Unmap()
	for i := range specialRanges {
		if specialRanges[i].prefix.Contains(addr) {
			return &specialRanges[i]
		}
	}
	return nil
}

// verdict is the answer to one attempt.
type verdict struct {
	allowed bool
	name    string // the listed name that opened it
	reason  string
	inspect bool // the first bytes must be checked for a listed name
}

func refuse(format string, args ...any) verdict { return verdict{reason: fmt.Sprintf(format, args...)} }

// Parse checks the words of an allow-list and of published ports, so that a mistake is told before anything
// starts.
func Parse(cfg Config) (*Policy, error) {
	if len(cfg.Allow)+len(cfg.Host) > maxRules || len(cfg.Publish) > maxRules {
		return nil, fmt.Errorf("cannot use more than %d rules or published ports", maxRules)
	}
	p := &Policy{own: cfg.hooks.own, inbound: cfg.Inbound}
	if p.own == nil {
		p.own = (&ownAddresses{}).list
	}
	for _, word := range cfg.Allow {
		r, err := parseRule(word)
		if err != nil {
			return nil, err
		}
		p.rules = append(p.rules, r)
	}
	for _, port := range cfg.Host {
		r, err := parseRule(fmt.Sprintf("%s:%d", HostName, port))
		if err != nil {
			return nil, err
		}
		r.beside = true
		p.rules = append(p.rules, r)
	}
	for _, word := range cfg.Publish {
		pub, err := parsePublish(word)
		if err != nil {
			return nil, err
		}
		for _, other := range p.publish {
			if pub.HostPort != 0 && pub.HostPort == other.HostPort && pub.HostIP == other.HostIP {
				return nil, fmt.Errorf("cannot publish port %d of %s twice", pub.HostPort, pub.HostIP)
			}
		}
		p.publish = append(p.publish, pub)
	}
	return p, nil
}

// The modes of a policy.
const (
	ModePublic    = "public"
	ModeAllowList = "allow-list"
	ModeInbound   = "inbound"
)

// Mode tells which of the kinds of policy this is.
func (p *Policy) Mode() string {
	switch {
	case slices.ContainsFunc(p.rules, func(r rule) bool { return !r.beside }):
		return ModeAllowList
	case p.inbound:
		return ModeInbound
	}
	return ModePublic
}

// Allow lists the rules as they were written.
func (p *Policy) Allow() []string {
	words := make([]string, 0, len(p.rules))
	for _, r := range p.rules {
		words = append(words, r.original)
	}
	return words
}

// judge decides on one attempt to reach an address. The names are those that the address was given for and
// that are still remembered. Port 0 stands for an echo request.
func (p *Policy) judge(protocol string, dst netip.AddrPort, names []string) verdict {
	addr := dst.Addr()
	if !addr.Is4() {
		return refuse("not an IPv4 address")
	}
	special := classOf(addr)
	if special != nil && special.never {
		return refuse("%s address", special.word)
	}
	own := slices.Contains(p.own(), addr)
	if r, ok := p.addressRule(protocol, dst, special, own); ok {
		return verdict{allowed: true, reason: "allowed by " + r.original}
	}
	switch {
	case special != nil:
		return refuse("%s address", special.word)
	case own:
		return refuse("address of this host")
	case p.Mode() == ModeInbound:
		return refuse("the network is for published ports alone")
	case p.Mode() == ModePublic:
		v := verdict{allowed: true, reason: "public address"}
		if len(names) > 0 {
			v.name = names[0]
		}
		return v
	}
	return p.judgeNames(protocol, dst.Port(), names)
}

// judgeNames decides by the names that an address was given for. A rule that lets any protocol pass wins.
func (p *Policy) judgeNames(protocol string, port uint16, names []string) verdict {
	var found verdict
	for _, name := range names {
		r, ok := p.nameRule(protocol, name, port)
		if !ok {
			continue
		}
		v := verdict{
			allowed: true,
			name:    name,
			reason:  "allowed by " + r.original,
			inspect: protocol == "tcp" && r.protocol == "",
		}
		if !v.inspect {
			return v
		}
		if !found.allowed {
			found = v
		}
	}
	switch {
	case found.allowed:
		return found
	case len(names) == 0:
		return refuse("not listed")
	case protocol == "udp":
		return verdict{name: names[0], reason: "a name opens no UDP, unless its rule says PORT/udp"}
	}
	return verdict{name: names[0], reason: "not listed for this port"}
}

// addressRule finds the address rule that opens a destination.
func (p *Policy) addressRule(protocol string, dst netip.AddrPort, special *class, own bool) (rule, bool) {
	exact := own && !dst.Addr().IsLoopback()
	for _, r := range p.rules {
		switch {
		case !r.prefix.IsValid() || !r.prefix.Contains(dst.Addr()) || !r.matchesPort(dst.Port()) ||
			!r.matchesProtocol(protocol):
		case special != nil && !special.holds(r.prefix):
		case exact && r.prefix.Bits() != 32:
		default:
			return r, true
		}
	}
	return rule{}, false
}

// nameRule finds the name rule that opens a name for a port. One that lets any protocol pass wins.
func (p *Policy) nameRule(protocol, name string, port uint16) (found rule, ok bool) {
	for _, r := range p.rules {
		if !r.matchesName(name) || !r.matchesPort(port) || !r.matchesProtocol(protocol) {
			continue
		}
		if r.protocol != "" {
			return r, true
		}
		if !ok {
			found, ok = r, true
		}
	}
	return found, ok
}

// nameListed tells whether the name may be looked up at all.
func (p *Policy) nameListed(name string) bool {
	if p.Mode() == ModePublic || name == HostName && p.hostOpen() {
		return true
	}
	return slices.ContainsFunc(p.rules, func(r rule) bool { return r.matchesName(name) })
}

// hostOpen tells whether a port of this host's is open to the guest by the host's name.
func (p *Policy) hostOpen() bool {
	return slices.ContainsFunc(p.rules, func(r rule) bool { return r.host })
}

// answerable tells whether an address may stand in an answer to the guest, and if not why. An address that
// no rule could open on any port is not given, so that a name which turns to a private address fails at once.
func (p *Policy) answerable(addr netip.Addr) (string, bool) {
	special, own := classOf(addr), slices.Contains(p.own(), addr)
	if !addr.Is4() || special == nil && !own {
		return "", addr.Is4()
	}
	for _, r := range p.rules {
		if !r.prefix.IsValid() {
			continue
		}
		protocol := "tcp"
		if r.protocol != "" {
			protocol = r.protocol
		}
		if _, ok := p.addressRule(protocol, netip.AddrPortFrom(addr, r.port), special, own); ok {
			return "", true
		}
	}
	if special != nil {
		return special.word + " address", false
	}
	return "address of this host", false
}

// ownAddresses remembers this host's addresses for a moment: they can change, but a flood of connections must
// not become a flood of questions to the kernel.
type ownAddresses struct {
	mu    sync.Mutex
	until time.Time
	addrs []netip.Addr
}

func (o *ownAddresses) list() []netip.Addr {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().Before(o.until) {
		return o.addrs
	}
	found, err := net.InterfaceAddrs()
	if err != nil {
		return o.addrs
	}
	o.addrs = nil
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok && addr.Unmap().Is4() {
				o.addrs = append(o.addrs, addr.Unmap())
			}
		}
	}
	o.until = time.Now().Add(5 * time.Second)
	return o.addrs
}
