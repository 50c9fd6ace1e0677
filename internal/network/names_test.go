package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestRebinding changes what a listed name resolves to between look-ups.
func TestRebinding(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("www.example.org:7/tcp")
	now := time.Now()
	cfg.hooks.now = func() time.Time { return now }
	g := newGuest(t, cfg)
	check := func(when, address, want string) {
		t.Helper()
		if got := (try{"tcp", address + ":7", ""}).run(g); got != want {
			t.Errorf("%s: %s is %s, want %s", when, address, got, want)
		}
	}
	w.set("www.example.org", listed)
	g.lookup("www.example.org")
	check("after the first answer", listed, "ok")
	for _, private := range []string{"127.0.0.1", "169.254.169.254", "10.0.0.1", gatewayAddress} {
		w.set("www.example.org", private)
		if _, err := g.lookup("www.example.org"); err == nil {
			t.Errorf("%s was answered", private)
		}
		if private != "127.0.0.1" { // no guest sends that
			check("after a private answer", private, "refused")
		}
	}
	w.set("www.example.org", unlisted)
	g.lookup("www.example.org")
	check("after another public answer", unlisted, "ok")
	check("after another public answer", listed, "ok") // it may still be in the guest's memory
	now = now.Add(answerMemory)
	check("long after", listed, "refused")
}

// TestForeignResolver answers questions to another resolver, under the policy.
func TestForeignResolver(t *testing.T) {
	w := newWorld(t)
	w.set("www.example.org", listed)
	w.set("other.example.org", unlisted)
	g := newGuest(t, w.config("www.example.org"))
	for _, protocol := range []string{"udp", "tcp"} {
		foreign := &net.Resolver{PreferGo: true,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				if protocol == "tcp" {
					return g.dial("8.8.8.8:53")
				}
				return g.dialUDP("8.8.8.8:53"), nil
			}}
		if addrs, err := foreign.LookupNetIP(t.Context(), "ip4", "www.example.org."); err != nil ||
			fmt.Sprint(addrs) != "["+listed+"]" {
			t.Errorf("%s: %v, %v", protocol, addrs, err)
		}
		if addrs, err := foreign.LookupNetIP(t.Context(), "ip4", "other.example.org."); err == nil {
			t.Errorf("%s: %v", protocol, addrs)
		}
	}
	if seen := w.connectedTo(); len(seen) > 0 {
		t.Errorf("connected to %v", seen)
	}
}

// TestLongAnswer is cut off in a datagram, and complete by TCP.
func TestLongAnswer(t *testing.T) {
	w := newWorld(t)
	for i := range maxRecords {
		w.names["many.example.org"] = append(w.names["many.example.org"],
			netip.AddrFrom4([4]byte{93, 184, 1, byte(i)}))
	}
	g := newGuest(t, w.config())
	query := packQuestion(t, "many.example.org.", dnsmessage.TypeA)
	var m dnsmessage.Message
	answer := g.net.answerQuestion(t.Context(), query, true)
	if err := m.Unpack(answer); err != nil || !m.Truncated || len(m.Answers) > 0 ||
		len(answer) > plainUDPAnswer {
		t.Errorf("a datagram of %d bytes, %+v, %v", len(answer), m.Header, err)
	}
	if addrs, err := g.lookup("many.example.org"); err != nil || len(addrs) != maxRecords {
		t.Errorf("%d addresses, %v", len(addrs), err)
	}
}

// records is a resolver that knows all kinds of records.
type records struct{ *world }

func (records) LookupMX(context.Context, string) ([]*net.MX, error) {
	return []*net.MX{{Host: "mail.example.org.", Pref: 10}}, nil
}
func (records) LookupTXT(context.Context, string) ([]string, error) {
	return []string{strings.Repeat("x", 300)}, nil
}
func (records) LookupNS(context.Context, string) ([]*net.NS, error) {
	return []*net.NS{{Host: "ns.example.org."}}, nil
}
func (records) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return name, []*net.SRV{{
		Target:   "srv.example.org.",
		Port:     80,
		Priority: 1,
		Weight:   2,
	}}, nil
}
func (records) LookupAddr(context.Context, string) ([]string, error) {
	return []string{"host.example.org."}, nil
}

// TestQuestions is a table of questions and what the answer is.
func TestQuestions(t *testing.T) {
	w := newWorld(t)
	w.set("www.example.org", listed)
	networks := map[string]*Network{}
	for mode, allow := range map[string][]string{"public": nil, "list": {"www.example.org"}} {
		cfg := w.config(allow...)
		cfg.hooks.resolver = records{w}
		networks[mode] = newNetwork(t, cfg)
	}
	for _, row := range []struct {
		mode string
		kind dnsmessage.Type
		name string
		want string
	}{
		{"public", dnsmessage.TypeA, "www.example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypeAAAA, "www.example.org.", "RCodeSuccess 0"},
		{"public", dnsmessage.TypeA, "nothing.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeA, "sp ace.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeA, ".", "RCodeNameError 0"},
		{"public", dnsmessage.TypeMX, "example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypeTXT, "example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypeNS, "example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypeSRV, "_http._tcp.example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypePTR, "34.216.184.93.in-addr.arpa.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypePTR, "1.0.168.192.in-addr.arpa.", "RCodeNameError 0"},
		{"public", dnsmessage.TypePTR, "1.0.0.0.ip6.arpa.", "RCodeNameError 0"},
		{"public", 65, "www.example.org.", "RCodeSuccess 0"}, // HTTPS: no keys for hidden names
		{"public", dnsmessage.TypeALL, "www.example.org.", "RCodeSuccess 0"},
		{"list", dnsmessage.TypeA, "www.example.org.", "RCodeSuccess 1"},
		{"list", dnsmessage.TypeAAAA, "www.example.org.", "RCodeSuccess 0"},
		{"list", dnsmessage.TypeTXT, "www.example.org.", "RCodeSuccess 0"},
		{"list", dnsmessage.TypeSRV, "_http._tcp.www.example.org.", "RCodeNameError 0"},
		{"list", dnsmessage.TypeMX, "example.org.", "RCodeNameError 0"},
		{"list", dnsmessage.TypePTR, "34.216.184.93.in-addr.arpa.", "RCodeNameError 0"},
	} {
		var m dnsmessage.Message
		answer := networks[row.mode].answerQuestion(t.Context(), packQuestion(t, row.name, row.kind), false)
		if err := m.Unpack(answer); err != nil {
			t.Fatal(row, err)
		}
		if got := fmt.Sprint(m.RCode.GoString()[len("dnsmessage."):], " ", len(m.Answers)); got != row.want ||
			m.ID != 77 || !m.Response {
			t.Errorf("%+v: got %s %+v", row, got, m)
		}
	}
}

// TestBadQuestions are answered with an error or not at all.
func TestBadQuestions(t *testing.T) {
	n := newNetwork(t, newWorld(t).config())
	good := packQuestion(t, "www.example.org.", dnsmessage.TypeA)
	change := func(at int, to byte) []byte {
		out := append([]byte(nil), good...)
		out[at] = to
		return out
	}
	for what, row := range map[string]struct {
		query []byte
		want  string
	}{
		"nothing":       {nil, "nothing"},
		"short":         {good[:11], "nothing"},
		"an answer":     {change(2, 0x80), "nothing"},
		"too long":      {append(good, make([]byte, maxQuestion)...), "nothing"},
		"an update":     {change(2, 5<<3), "RCodeNotImplemented"},
		"no question":   {change(5, 0), "RCodeFormatError"},
		"two questions": {change(5, 2), "RCodeFormatError"},
		"cut off":       {good[:len(good)-1], "RCodeFormatError"},
		"another class": {change(len(good)-1, 3), "RCodeRefused"},
	} {
		got := "nothing"
		if answer := n.answerQuestion(t.Context(), row.query, true); answer != nil {
			var m dnsmessage.Message
			if err := m.Unpack(answer); err != nil {
				t.Fatal(what, err)
			}
			got = m.RCode.GoString()[len("dnsmessage."):]
		}
		if got != row.want {
			t.Errorf("%s: got %s, want %s", what, got, row.want)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := answers{byAddr: map[netip.Addr]map[string]time.Time{}}
	now := time.Now()
	for i := range 3 * maxAnswers {
		a.record(fmt.Sprint("n", i), []netip.Addr{netip.AddrFrom4([4]byte{93, 1, byte(i >> 8), byte(i)})},
			now.Add(time.Duration(i)*time.Millisecond))
		if a.count > maxAnswers {
			t.Fatalf("%d answers", a.count)
		}
	}
	last := 3*maxAnswers - 1
	if names := a.names(netip.AddrFrom4([4]byte{93, 1, byte(last >> 8), byte(last & 0xff)}),
		now); len(names) == 0 || names[len(names)-1] != fmt.Sprint("n", last) {
		t.Errorf("the last answer is forgotten: %v", names)
	}
}

func packQuestion(t testing.TB, name string, kind dnsmessage.Type) []byte {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind,
			Class: dnsmessage.ClassINET}},
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func FuzzQuestion(f *testing.F) {
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypePTR, dnsmessage.TypeTXT,
		dnsmessage.TypeOPT} {
		f.Add(packQuestion(f, "www.example.org.", kind))
		f.Add(packQuestion(f, "34.216.184.93.in-addr.arpa.", kind))
	}
	w := newWorld(f)
	w.set("www.example.org", listed)
	cfg := w.config()
	cfg.Log, cfg.hooks.resolver = nil, records{w}
	n := newNetwork(f, cfg)
	f.Fuzz(func(t *testing.T, query []byte) {
		answer := n.answerQuestion(context.Background(), query, true)
		if answer == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil || !m.Response || len(answer) > maxUDPAnswer {
			t.Errorf("answer of %d bytes: %+v, %v", len(answer), m, err)
		}
	})
}
