package network

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxRules bounds an allow-list and a list of published ports, which are looked through for each connection.
const maxRules = 1024

// HostName is what the guest calls this host, whose loopback it reaches at the gateway.
const HostName = "host.pyro.internal"

// rule is one word of the allow-list: a name or a range of addresses, and a port or all of them.
type rule struct {
	name     string       // without the trailing dot, lower case, ASCII; "" for a range of addresses
	below    bool         // the rule means all names below name, not name itself
	prefix   netip.Prefix // the zero Prefix for a name
	port     uint16       // 0 means every port
	protocol string       // "tcp" or "udp"; "" means both for a range, and TCP that names a host for a name
	host     bool         // a port of this host's loopback, by HostName
	beside   bool         // it makes no allow-list: the rest of the policy is as without it
	original string       // as the user wrote it
}

// parseRule reads HOST[:PORT], *.DOMAIN[:PORT], ADDRESS[:PORT] or CIDR[:PORT], each with /tcp or /udp behind
// it or without.
func parseRule(word string) (rule, error) {
	r := rule{original: word}
	fail := func(format string, args ...any) (rule, error) {
		return rule{}, fmt.Errorf("cannot allow %q: %s", word, fmt.Sprintf(format, args...))
	}
	host := word
	for _, protocol := range []string{"tcp", "udp"} {
		if head, found := strings.CutSuffix(host, "/"+protocol); found {
			host, r.protocol = head, protocol
			break
		}
	}
	if strings.Count(host, ":") > 1 {
		return fail("the guest has no IPv6, name an IPv4 address or a host")
	}
	if head, tail, found := strings.Cut(host, ":"); found {
		port, err := parsePort(tail)
		if err != nil || port == 0 {
			return fail("%q is not a port", tail)
		}
		host, r.port = head, port
	}
	switch {
	case host == "":
		return fail("the host is missing")
	case host == HostName:
		if r.port == 0 || r.port == 53 {
			return fail("name the port of this host's that is opened, which cannot be 53")
		}
		r.prefix, r.host = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 32), true
	case strings.Contains(host, "/"):
		prefix, err := netip.ParsePrefix(host)
		if err != nil {
			return fail("%q is not an address range such as 10.1.0.0/16", host)
		}
		if prefix != prefix.Masked() {
			return fail("the range has bits beyond its length, write %s", prefix.Masked())
		}
		r.prefix = prefix
	default:
		if addr, err := netip.ParseAddr(host); err == nil {
			r.prefix = netip.PrefixFrom(addr, addr.BitLen())
			break
		}
		if rest, found := strings.CutPrefix(host, "*."); found {
			host, r.below = rest, true
		}
		name, err := asciiName(host)
		if err != nil {
			return fail("%s", err)
		}
		r.name = name
		if r.protocol != "" && r.port == 0 {
			return fail("name the port too that is opened to all of %s", strings.ToUpper(r.protocol))
		}
	}
	if r.prefix.IsValid() {
		if class := classOf(r.prefix.Addr()); class != nil && class.never && class.holds(r.prefix) {
			return fail("%s addresses cannot be reached", class.word)
		}
	}
	if r.name == "localhost" || strings.HasSuffix(r.name, ".localhost") {
		return fail("that is the guest itself, to reach this host allow 127.0.0.1 with a port and connect " +
			"to the gateway")
	}
	return r, nil
}

// parsePort reads a port in decimal digits alone; 0 is left to the caller to judge.
func parsePort(text string) (uint16, error) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a port", text)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a port", text)
	}
	return uint16(port), nil
}

// asciiName checks a name that a person wrote and brings it to the form in which names are compared.
func asciiName(text string) (string, error) {
	for i := 0; i < len(text); i++ {
		if text[i] < 0x80 {
			continue
		}
		ascii, err := idna.Lookup.ToASCII(text)
		if err != nil {
			return "", fmt.Errorf("%q is not an international host name", text)
		}
		text = ascii
		break
	}
	name, ok := canonicalName(text)
	if !ok {
		return "", fmt.Errorf("%q is not a host name", text)
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return "", fmt.Errorf("%q looks like an address, write all four of its numbers in decimal", text)
	}
	return name, nil
}

// canonicalName brings a name from a rule or from the guest to the form in which names are compared: lower
// case, without the trailing dot. It reports false for what cannot be a host name in ASCII.
func canonicalName(text string) (string, bool) {
	text = strings.TrimSuffix(text, ".")
	if text == "" || len(text) > 253 {
		return "", false
	}
	start := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && text[i] != '.' {
			c := text[i]
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			if !letter && c != '_' && (c != '-' || i == start) {
				return "", false
			}
			continue
		}
		if i == start || i-start > 63 || text[i-1] == '-' {
			return "", false
		}
		start = i + 1
	}
	return strings.ToLower(text), true
}

// matchesName tells whether a canonical name is the one that the rule means.
func (r rule) matchesName(name string) bool {
	if r.name == "" {
		return false
	}
	if r.below {
		head, found := strings.CutSuffix(name, r.name)
		return found && len(head) > 1 && strings.HasSuffix(head, ".")
	}
	return name == r.name
}

// matchesPort tells whether the rule is for the port. Echo requests have none and ask for port 0, which only
// a rule without a port matches.
func (r rule) matchesPort(port uint16) bool { return r.port == 0 || r.port == port }

// matchesProtocol tells whether the rule is for the protocol. A name opens UDP only if the rule says so:
// nothing in a datagram tells which name it is for. Echo requests are in a rule that names no protocol.
func (r rule) matchesProtocol(protocol string) bool {
	if r.protocol == "" {
		return r.name == "" || protocol != "udp"
	}
	return r.protocol == protocol
}
