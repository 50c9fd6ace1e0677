package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// zones are name servers that know all kinds of records: by name and type, with aliases.
type zones map[string][]dnsmessage.ResourceBody

func (z zones) add(name string, bodies ...dnsmessage.ResourceBody) {
	z[name] = append(z[name], bodies...)
}

func (z zones) records(
	_ context.Context, name string, kind dnsmessage.Type,
) (found []dnsmessage.Resource, code dnsmessage.RCode, err error) {
	code = dnsmessage.RCodeNameError
	if name == "broken.example.org" {
		return nil, dnsmessage.RCodeServerFailure, nil
	}
	for range 4 {
		next := ""
		for _, body := range z[name] {
			code = dnsmessage.RCodeSuccess
			r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name +
				"."), Class: dnsmessage.ClassINET}, Body: body}
			switch b := body.(type) {
			case *dnsmessage.CNAMEResource:
				r.Header.Type, next = dnsmessage.TypeCNAME, strings.TrimSuffix(b.CNAME.String(), ".")
			case *dnsmessage.MXResource:
				r.Header.Type = dnsmessage.TypeMX
			case *dnsmessage.TXTResource:
				r.Header.Type = dnsmessage.TypeTXT
			case *dnsmessage.NSResource:
				r.Header.Type = dnsmessage.TypeNS
			case *dnsmessage.SRVResource:
				r.Header.Type = dnsmessage.TypeSRV
			case *dnsmessage.PTRResource:
				r.Header.Type = dnsmessage.TypePTR
			}
			if r.Header.Type == kind || r.Header.Type == dnsmessage.TypeCNAME {
				found = append(found, r)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	return found, code, nil
}

// publicZones is a part of the public name system, and beside it what only this host's network knows.
func publicZones(w *world) zones {
	name := dnsmessage.MustNewName
	ns := func(host string) dnsmessage.ResourceBody { return &dnsmessage.NSResource{NS: name(host)} }
	txt := &dnsmessage.TXTResource{TXT: []string{strings.Repeat("x", 255), "x"}}
	srv := func(host string) dnsmessage.ResourceBody {
		return &dnsmessage.SRVResource{Target: name(host), Port: 80}
	}
	mx := func(host string) dnsmessage.ResourceBody { return &dnsmessage.MXResource{MX: name(host)} }
	for host, addr := range map[string]string{"ns.example.org": unlisted, "mail.example.org": listed,
		"srv.example.org": listed,
		"dc.example.org":  "10.1.2.3", "ns.corp.example.org": "10.1.2.53", "table.example.org": listed} {
		w.set(host, addr)
	}
	w.set("ns.split.example.org", unlisted, "10.1.2.53")
	z := zones{}
	z.add("example.org", ns("ns.example.org."), mx("mail.example.org."), mx("dc.example.org."), mx("."), txt)
	z.add("_http._tcp.example.org", srv("srv.example.org."), srv("dc.example.org."),
		srv("srv.corp.internal."))
	z.add("34.216.184.93.in-addr.arpa", &dnsmessage.PTRResource{PTR: name("www.example.org.")},
		&dnsmessage.PTRResource{PTR: name("build.corp.example.org.")},
		&dnsmessage.PTRResource{PTR: name("vm7.internal.")})
	z.add("alias.example.org", &dnsmessage.CNAMEResource{CNAME: name("www2.example.org.")})
	z.add("www2.example.org", txt)
	// The network's own: a zone within a public one, a zone whose servers are mixed, one without servers, and
	// names of no zone.
	z.add("corp.example.org", ns("ns.corp.example.org."), txt, mx("mail.example.org."))
	z.add("_ldap._tcp.corp.example.org", srv("mail.example.org."))
	z.add("split.example.org", ns("ns.split.example.org."), txt)
	z.add("corp.internal", ns("ns.example.org."), txt)
	z.add("intranet", txt)
	z.add("away.example.org", &dnsmessage.CNAMEResource{CNAME: name("corp.example.org.")})
	z.add("farther.example.org", &dnsmessage.CNAMEResource{CNAME: name("corp.internal.")})
	z.add("lone.example.net", txt)
	return z
}

// TestQuestions is a table of questions and what the answer is.
func TestQuestions(t *testing.T) {
	w := newWorld(t)
	w.set("www.example.org", listed)
	networks := map[string]*Network{}
	for mode, allow := range map[string][]string{"public": nil,
		"list": {"www.example.org", "table.example.org"}, "inbound": nil} {
		cfg := w.config(allow...)
		cfg.hooks.records, cfg.hooks.hosts = publicZones(w),
			ownTable(t, "10.0.0.7 table.example.org other # a.example.org\n")
		cfg.Inbound = mode == "inbound"
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
		{"public", dnsmessage.TypeA, "table.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeA, "other.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeMX, "example.org.", "RCodeSuccess 1"}, // of three
		{"public", dnsmessage.TypeTXT, "example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypeNS, "example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypeSRV, "_http._tcp.example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypeTXT, "alias.example.org.", "RCodeSuccess 1"},
		{"public", dnsmessage.TypeTXT, "nothing.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeTXT, "broken.example.org.", "RCodeServerFailure 0"},
		{"public", dnsmessage.TypeTXT, "corp.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeMX, "corp.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeNS, "corp.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeSRV, "_ldap._tcp.corp.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeTXT, "split.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeTXT, "corp.internal.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeTXT, "intranet.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeTXT, "lone.example.net.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeTXT, "table.example.org.", "RCodeNameError 0"},
		{"public", dnsmessage.TypeTXT, "away.example.org.", "RCodeSuccess 0"},
		{"public", dnsmessage.TypeTXT, "farther.example.org.", "RCodeSuccess 0"},
		{"public", dnsmessage.TypeTXT, strings.Repeat("a.", maxLabels) + "example.org.", "RCodeNameError 0"},
		{"inbound", dnsmessage.TypeA, "www.example.org.", "RCodeNameError 0"},
		{"inbound", dnsmessage.TypeTXT, "example.org.", "RCodeNameError 0"},
		{"inbound", dnsmessage.TypePTR, "34.216.184.93.in-addr.arpa.", "RCodeNameError 0"},
		{"list", dnsmessage.TypeA, "table.example.org.", "RCodeSuccess 1"},
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

// ownTable writes a hosts file.
func ownTable(t testing.TB, text string) *hostsFile {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return &hostsFile{path: path}
}

func TestHostsFile(t *testing.T) {
	h := ownTable(t, "127.0.0.1 localhost # not.this\n#10.0.0.1 nor.this\n\n"+
		"10.0.0.7\tBuild.Example.Org. build\n::1 six\n")
	for name, want := range map[string]bool{"localhost": true, "build.example.org": true, "build": true,
		"six": true, "not.this": false,
		"nor.this": false, "10.0.0.7": false, "": false} {
		if h.has(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if err := os.WriteFile(h.path, []byte("10.0.0.7 another.name\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if h.has("build") || !h.has("another.name") {
		t.Error("a changed table is not read anew")
	}
	if (&hostsFile{path: "/nonexistent"}).has("localhost") {
		t.Error("a table that is not there has names")
	}
}

// TestServers asks real name servers, by UDP and, if the answer is cut off, by TCP. The first of them is
// silent.
func TestServers(t *testing.T) {
	query, err := packQuery(7, "example.org", dnsmessage.TypeTXT)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(id uint16, cut bool, name string, texts int) []byte {
		owner := dnsmessage.MustNewName(name)
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, Response: true, Truncated: cut},
			Questions: []dnsmessage.Question{{Name: owner, Type: dnsmessage.TypeTXT,
				Class: dnsmessage.ClassINET}}}
		for range texts {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: owner,
				Class: dnsmessage.ClassINET},
				Body: &dnsmessage.TXTResource{TXT: []string{"x"}}})
		}
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return packed
	}
	for what, row := range map[string]struct {
		answer    []byte
		want      int
		truncated bool
		fails     bool
	}{
		"an answer":        {answer(7, false, "example.org.", 2), 2, false, false},
		"in capitals":      {answer(7, false, "EXAMPLE.org.", 1), 1, false, false},
		"cut off":          {answer(7, true, "example.org.", 0), 0, true, false},
		"another id":       {answer(8, false, "example.org.", 1), 0, false, true},
		"another question": {answer(7, false, "example.net.", 1), 0, false, true},
		"a question":       {query, 0, false, true},
		"half":             {answer(7, false, "example.org.", 1)[:40], 0, false, true},
		"nothing":          {nil, 0, false, true},
		"many":             {answer(7, false, "example.org.", 1000), 4 * maxRecords, false, false},
	} {
		found, _, truncated, err := parseAnswer(query, row.answer)
		if len(found) != row.want || truncated != row.truncated || (err != nil) != row.fails {
			t.Errorf("%s: %d records, %v, %v", what, len(found), truncated, err)
		}
	}
	datagrams, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	stream, err := net.Listen("tcp4", datagrams.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var done sync.WaitGroup
	done.Go(func() {
		buffer := make([]byte, 512)
		size, from, err := datagrams.ReadFrom(buffer)
		if err != nil || size < 2 {
			return
		}
		id := uint16(buffer[0])<<8 | uint16(buffer[1])
		datagrams.WriteTo(answer(id+1, false, "example.org.", 1), from) // a forgery
		datagrams.WriteTo(answer(id, true, "example.org.", 0), from)
	})
	done.Go(func() {
		conn, err := stream.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buffer := make([]byte, 512)
		if size, err := conn.Read(buffer); err == nil && size > 4 {
			long := answer(uint16(buffer[2])<<8|uint16(buffer[3]), false, "example.org.", 50)
			conn.Write(append([]byte{byte(len(long) >> 8), byte(len(long))}, long...))
		}
	})
	found, truncated := []dnsmessage.Resource(nil), false
	for _, protocol := range []string{"udp", "tcp"} {
		if found, _, truncated, err = ask(t.Context(), protocol, datagrams.LocalAddr().String(),
			query); err != nil || truncated != (protocol == "udp") {
			t.Errorf("%s: %v, %v", protocol, truncated, err)
		}
	}
	if done.Wait(); len(found) != 50 {
		t.Errorf("%d records", len(found))
	}
}

func TestServerList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string]string{
		"": "[127.0.0.1:53]",
		"search x\nnameserver 10.0.0.1\nnameserver ::1\nnameserver bad\n": "[10.0.0.1:53 [::1]:53]",
		"nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\n" +
			"nameserver 1.0.0.4\noptions edns0": "[1.0.0.1:53 1.0.0.2:53 1.0.0.3:53]",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(servers{file}.list()); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// FuzzAnswer reads what a name server could send.
func FuzzAnswer(f *testing.F) {
	query, err := packQuery(7, "example.org", dnsmessage.TypeTXT)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(query)
	f.Add(append([]byte{0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0},
		append(query[12:len(query):len(query)], 0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 1, 0, 2, 1, 'x')...))
	f.Fuzz(func(t *testing.T, answer []byte) {
		found, _, truncated, err := parseAnswer(query, answer)
		if len(found) > 4*maxRecords || err != nil && found != nil || truncated && found != nil {
			t.Errorf("%d records, %v, %v", len(found), truncated, err)
		}
		for _, r := range found {
			if r.Header.Type != dnsmessage.TypeTXT && r.Header.Type != dnsmessage.TypeCNAME {
				t.Errorf("a record of type %v", r.Header.Type)
			}
		}
	})
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
	cfg.Log, cfg.hooks.records = nil, publicZones(w)
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
