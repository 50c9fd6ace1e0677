package network

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// The addresses of the world's names. They are public, and nothing is ever sent to them.
const (
	listed   = "93.184.216.34"
	shared   = "93.184.216.35" // of two names
	unlisted = "93.184.216.36"
	ownPub   = "93.184.216.37" // of this host
)

// attempt kinds of the table: what the guest does, and to what.
type try struct{ kind, where, name string }

// run does what the table says and tells what came of it: "ok", "refused", "reset", "nxdomain", "empty",
// "silence".
func (a try) run(g *guest) string {
	switch a.kind {
	case "tcp", "say":
		conn, err := g.dial(a.where)
		if err != nil {
			return outcome(err)
		}
		defer conn.Close()
		if a.kind == "say" {
			return answered(conn, a.name, g.patience)
		}
		return echoed(conn, g.patience)
	case "udp":
		conn := g.dialUDP(a.where)
		defer conn.Close()
		// The other stack tells an ICMP error only when it is asked again.
		result := "silence"
		for end := time.Now().Add(g.patience); result == "silence" && time.Now().Before(end); {
			result = echoed(conn, 20*time.Millisecond)
		}
		return result
	case "dns", "dns/tcp":
		addrs, err := g.resolver(strings.TrimPrefix(a.kind, "dns/")).LookupNetIP(g.t.Context(), "ip4",
			a.name+".")
		if err != nil {
			return outcome(err)
		}
		return fmt.Sprint(addrs)
	case "tls":
		return outcome(g.secure(a.where, a.name))
	case "http":
		conn, err := g.dial(a.where)
		if err != nil {
			return outcome(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(g.patience))
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", a.name)
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return outcome(err)
		}
		return fmt.Sprint(r.StatusCode)
	}
	return "unknown kind"
}

func echoed(conn net.Conn, patience time.Duration) string {
	return answered(conn, "echo this", patience)
}

// answered says something to an echo server.
func answered(conn net.Conn, text string, patience time.Duration) string {
	word := []byte(text)
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(word); err != nil {
		return outcome(err)
	}
	got := make([]byte, 256)
	size, err := conn.Read(got)
	if err != nil {
		return outcome(err)
	}
	if !bytes.Equal(got[:size], word) {
		return "wrong echo"
	}
	return "ok"
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	text := err.Error()
	for _, pair := range [][2]string{
		{"refused", "refused"}, {"reset", "reset"}, {"no such host", "no name"}, {"timeout", "silence"},
		{"deadline", "silence"}, {"unreachable", "unreachable"}, {"EOF", "reset"},
	} {
		if strings.Contains(text, pair[0]) {
			return pair[1]
		}
	}
	return text
}

// row is one of the policy table: under these rules, after a look-up of the first name, the attempt has this
// result.
type row struct {
	allow []string // or inbound
	first string
	try   try
	want  string
}

// inbound in place of rules is the policy of published ports alone.
const inbound = "--publish alone"

// inboundRows is the policy of published ports alone.
func inboundRows() []row {
	rules := []string{inbound}
	return []row{
		{rules, "", try{"tcp", listed + ":7", ""}, "refused"},
		{rules, "", try{"udp", listed + ":7", ""}, "refused"},
		{rules, "", try{"tls", listed + ":443", "www.example.org"}, "refused"},
		{rules, "", try{"tcp", "10.1.2.3:7", ""}, "refused"},
		{rules, "", try{"tcp", gatewayAddress + ":7", ""}, "refused"},
		{rules, "", try{"dns", "", "www.example.org"}, "no name"},
		{rules, "", try{"dns/tcp", "", "www.example.org"}, "no name"},
		{rules, "", try{"tcp", listed + ":53", ""}, "reset"}, // our name server, which was not asked anything
	}
}

// publicRows is the policy without rules.
func publicRows() []row {
	public := []string(nil)
	return []row{
		{public, "", try{"tcp", listed + ":7", ""}, "ok"},
		{public, "", try{"udp", listed + ":7", ""}, "ok"},
		{public, "", try{"tls", listed + ":443", "www.example.org"}, "ok"},
		{public, "", try{"http", listed + ":80", "anything"}, "200"},
		{public, "", try{"dns", "", "www.example.org"}, "[" + listed + "]"},
		{public, "", try{"dns/tcp", "", "www.example.org"}, "[" + listed + "]"},
		{public, "", try{"dns", "", "WWW.Example.ORG"}, "[" + listed + "]"},
		{public, "", try{"dns", "", "nothing.example.org"}, "no name"},
		{public, "", try{"tcp", "127.0.0.1:7", ""}, "silence"},
		{public, "", try{"tcp", gatewayAddress + ":7", ""}, "refused"},
		{public, "", try{"udp", gatewayAddress + ":7", ""}, "refused"},
		{public, "", try{"tcp", "169.254.169.254:80", ""}, "refused"},
		{public, "", try{"udp", "169.254.169.254:7", ""}, "refused"},
		{public, "", try{"tcp", "10.1.2.3:7", ""}, "refused"},
		{public, "", try{"tcp", "172.31.0.1:7", ""}, "refused"},
		{public, "", try{"tcp", "192.168.1.1:7", ""}, "refused"},
		{public, "", try{"tcp", "100.64.0.1:7", ""}, "refused"},
		{public, "", try{"tcp", "100.100.100.200:80", ""}, "refused"},
		{public, "", try{"tcp", "168.63.129.16:80", ""}, "refused"},
		{public, "", try{"tcp", "198.18.0.1:7", ""}, "refused"},
		{public, "", try{"tcp", "192.0.0.3:7", ""}, "refused"},
		{public, "", try{"udp", "224.0.0.251:5353", ""}, "silence"},
		{public, "", try{"tcp", "240.0.0.1:7", ""}, "silence"},
		{public, "", try{"tcp", "0.1.2.3:7", ""}, "silence"},
		{public, "", try{"tcp", ownPub + ":7", ""}, "refused"},
		{public, "", try{"dns", "", "private.example.org"}, "no name"},
		{public, "", try{"dns", "", "mapped.example.org"}, "no name"},
		{public, "", try{"dns", "", "mixed.example.org"}, "[" + listed + "]"},
	}
}

// nameRows is a policy of names.
func nameRows() []row {
	byName := []string{"www.example.org", "*.sub.example.org:443", "shared.example.org"}
	byPort := []string{"shared.example.org:7/tcp", "www.example.org:7/udp", "www.example.org:443",
		"93.184.216.36:7/udp"}
	const evil = "GET / HTTP/1.1\r\nHost: other.example.org\r\n\r\n"
	return []row{
		{byName, "", try{"dns", "", "www.example.org"}, "[" + listed + "]"},
		{byName, "", try{"dns", "", "other.example.org"}, "no name"},
		{byName, "", try{"dns/tcp", "", "other.example.org"}, "no name"},
		{byName, "", try{"dns", "", "deep.down.sub.example.org"}, "[" + listed + "]"},
		{byName, "", try{"dns", "", "sub.example.org"}, "no name"},
		{byName, "", try{"dns", "", "evilsub.example.org"}, "no name"},
		{byName, "", try{"tcp", listed + ":7", ""}, "refused"}, // nobody asked for the name
		{byName, "www.example.org", try{"tcp", listed + ":7", ""}, "reset"},
		// it speaks nothing that has names
		{byName, "www.example.org", try{"say", listed + ":7", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"}, "ok"},
		{byName, "www.example.org", try{"udp", listed + ":7", ""}, "refused"},
		{byName, "www.example.org", try{"udp", listed + ":443", ""}, "refused"}, // QUIC
		{byName, "www.example.org", try{"tcp", unlisted + ":7", ""}, "refused"},
		{byName, "www.example.org", try{"udp", unlisted + ":7", ""}, "refused"},
		{byName, "www.example.org", try{"tls", listed + ":443", "www.example.org"}, "ok"},
		{byName, "shared.example.org", try{"tls", shared + ":443", "shared.example.org"}, "ok"},
		{byName, "shared.example.org", try{"tls", shared + ":443", "other.example.org"}, "reset"},
		{byName, "shared.example.org", try{"tls", shared + ":443", ""}, "reset"},
		{byName, "shared.example.org", try{"tcp", shared + ":443", ""}, "reset"},
		{byName, "shared.example.org", try{"http", shared + ":80", "shared.example.org"}, "200"},
		{byName, "shared.example.org", try{"http", shared + ":80", "Shared.Example.Org.:80"}, "200"},
		{byName, "shared.example.org", try{"http", shared + ":80", "other.example.org"}, "reset"},
		{byName, "shared.example.org", try{"http", shared + ":80", shared}, "reset"},
		{byName, "shared.example.org", try{"tcp", shared + ":80", ""}, "reset"},
		{byName, "shared.example.org", try{"http", shared + ":7", "other.example.org"}, "reset"},
		{byName, "shared.example.org", try{"tls", shared + ":7", "other.example.org"}, "reset"},
		{byName, "shared.example.org", try{"say", shared + ":7", strings.Replace(evil, "other", "shared", 1)},
			"ok"},
		{byName, "shared.example.org", try{"say", shared + ":7", "\r\n" + evil}, "reset"},
		{byName, "shared.example.org", try{"say", shared + ":7", strings.ToLower(evil[:4]) + evil[4:]},
			"reset"},
		{byName, "shared.example.org", try{"say", shared + ":7", "M-SEARCH" + evil[3:]}, "reset"},
		{byName, "shared.example.org", try{"say", shared + ":7", "GET\t" + evil[4:]}, "reset"},
		{byName, "shared.example.org", try{"say", shared + ":7", "SSH-2.0-x" + evil[3:]}, "reset"},
		{byName, "a.sub.example.org", try{"tls", listed + ":443", "a.sub.example.org"}, "ok"},
		{byName, "a.sub.example.org", try{"tcp", listed + ":7", ""}, "refused"}, // another port
		{byName, "private.sub.example.org", try{"tcp", "10.1.2.3:443", ""}, "refused"},
		{byName, "", try{"dns", "", "private.sub.example.org"}, "no name"},
		{byName, "", try{"tcp", "169.254.169.254:80", ""}, "refused"},
		{byPort, "shared.example.org", try{"tcp", shared + ":7", ""}, "ok"},
		{byPort, "shared.example.org", try{"udp", shared + ":7", ""}, "refused"},
		{byPort, "shared.example.org", try{"tls", shared + ":443", "www.example.org"}, "refused"},
		{byPort, "www.example.org", try{"udp", listed + ":7", ""}, "ok"},
		{byPort, "www.example.org", try{"tcp", listed + ":7", ""}, "refused"},
		{byPort, "www.example.org", try{"udp", listed + ":443", ""}, "refused"},
		{byPort, "", try{"udp", unlisted + ":7", ""}, "ok"},
		{byPort, "", try{"tcp", unlisted + ":7", ""}, "refused"},
	}
}

// addressRows is a policy of addresses.
func addressRows() []row {
	byAddress := []string{"10.1.2.3:7", "169.254.169.254", "172.16.0.0/12", "0.0.0.0/0:7", "127.0.0.1:7"}
	return []row{
		{byAddress, "", try{"tcp", "10.1.2.3:7", ""}, "ok"},
		{byAddress, "", try{"udp", "10.1.2.3:7", ""}, "ok"},
		{byAddress, "", try{"tcp", "10.1.2.3:80", ""}, "refused"},
		{byAddress, "", try{"tcp", "10.1.2.4:7", ""}, "refused"},
		{byAddress, "", try{"http", "169.254.169.254:80", "anything"}, "200"},
		{byAddress, "", try{"tcp", "169.254.169.253:7", ""}, "refused"},
		{byAddress, "", try{"tcp", "172.16.9.9:7", ""}, "ok"},
		{byAddress, "", try{"tcp", listed + ":7", ""}, "ok"},
		{byAddress, "", try{"http", listed + ":80", "anything"}, "refused"},
		{byAddress, "", try{"tcp", "192.168.1.1:7", ""}, "refused"}, // 0.0.0.0/0 is the public internet
		{byAddress, "", try{"tcp", ownPub + ":7", ""}, "refused"},
		{byAddress, "", try{"tcp", gatewayAddress + ":7", ""}, "ok"}, // this host's loopback
		{byAddress, "", try{"http", gatewayAddress + ":80", ""}, "refused"},
		{[]string{ownPub}, "", try{"tcp", ownPub + ":7", ""}, "ok"},
		{[]string{"private.example.org", "10.1.2.3"}, "", try{"dns", "", "private.example.org"},
			"[10.1.2.3]"},
		// Foreign resolvers are answered by ours, unless they are listed.
		{nil, "", try{"tcp", listed + ":53", ""}, "reset"}, // that is not a question
		{[]string{listed + ":53"}, "", try{"tcp", listed + ":53", ""}, "ok"},
	}
}

// TestPolicy is the table of attempts and results, each on a network of its own.
func TestPolicy(t *testing.T) {
	rows := slices.Concat(publicRows(), inboundRows(), nameRows(), addressRows())
	checkTable(t, *update, rows)
	for _, row := range rows {
		name := fmt.Sprintf("%d rules/%s %s %s", len(row.allow), row.try.kind, row.try.where, row.try.name)
		t.Run(strings.TrimSpace(name), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ports[53] = w.ports[7]
			w.set("www.example.org", listed)
			w.set("shared.example.org", shared)
			w.set("other.example.org", shared)
			w.set("a.sub.example.org", listed)
			w.set("deep.down.sub.example.org", listed)
			w.set("sub.example.org", listed)
			w.set("evilsub.example.org", listed)
			w.set("private.example.org", "10.1.2.3")
			w.set("private.sub.example.org", "10.1.2.3")
			w.set("mapped.example.org", "::ffff:169.254.169.254")
			w.set("mixed.example.org", "127.0.0.1", listed, "192.168.0.1")
			w.own = []netip.Addr{netip.MustParseAddr(ownPub)}
			cfg := w.config(row.allow...)
			if slices.Equal(row.allow, []string{inbound}) {
				cfg.Allow, cfg.Inbound = nil, true
			}
			g := newGuest(t, cfg)
			if row.first != "" {
				g.lookup(row.first)
			}
			g.patience = 10 * time.Second
			if row.want == "silence" {
				g.patience = 200 * time.Millisecond
			}
			if got := row.try.run(g); got != row.want {
				t.Errorf("got %s, want %s; decisions %+v", got, row.want, w.decisions())
			}
			if refused := row.want == "refused" || row.want == "silence"; refused &&
				len(w.connectedTo()) > 0 {
				t.Errorf("connected to %v", w.connectedTo())
			}
		})
	}
}
