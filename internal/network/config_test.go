package network

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for word, want := range map[string]string{
		"example.org":                    "",
		"Example.ORG.:443":               "",
		"*.example.org":                  "",
		"bücher.example":                 "",
		"_dmarc.example.org":             "",
		"10.1.2.3":                       "",
		"10.1.2.3:22":                    "",
		"10.0.0.0/8:443":                 "",
		"0.0.0.0/0":                      "",
		"intranet":                       "",
		"example.org:5432/tcp":           "",
		"*.example.org:123/udp":          "",
		"10.0.0.0/8/tcp":                 "",
		"10.1.2.3/udp":                   "",
		"10.0.0.0/8:53/udp":              "",
		"example.org/tcp":                "name the port too that is opened to all of TCP",
		"example.org:1/tcp/udp":          "is not a port",
		"example.org:1/sctp":             "is not a port",
		"":                               "the host is missing",
		":80":                            "the host is missing",
		"example.org:":                   `"" is not a port`,
		"example.org:0":                  `"0" is not a port`,
		"example.org:65536":              `"65536" is not a port`,
		"example.org:+1":                 `"+1" is not a port`,
		"example.org:http":               `"http" is not a port`,
		"https://example.org":            "is not a port",
		"*":                              `"*" is not a host name`,
		"a.*.org":                        "is not a host name",
		"*x.org":                         "is not a host name",
		"exa mple.org":                   "is not a host name",
		"-a.org":                         "is not a host name",
		"a..org":                         "is not a host name",
		strings.Repeat("a", 64) + ".org": "is not a host name",
		"\u0300x.org":                    "is not an international host name",
		"127.1":                          "looks like an address",
		"2130706433":                     "looks like an address",
		"0x7f000001":                     "looks like an address",
		"1.2.3.4.5":                      "looks like an address",
		"10.0.0.1/8":                     "write 10.0.0.0/8",
		"10.0.0.0/33":                    "is not an address range",
		"::1":                            "no IPv6",
		"[::1]:80":                       "no IPv6",
		"::ffff:10.0.0.1":                "no IPv6",
		"fe80::/10":                      "no IPv6",
		"224.0.0.1":                      "multicast addresses cannot be reached",
		"0.0.0.0":                        "unspecified addresses cannot be reached",
		"255.255.255.255":                "cannot be reached",
		"localhost:8080":                 "that is the guest itself",
		"a.localhost":                    "that is the guest itself",
	} {
		_, err := Parse(Config{Allow: []string{word}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", word, err, want)
		}
	}
	if r, err := parseRule("*.BÜCHER.example.:443"); err != nil || r.name != "xn--bcher-kva.example" ||
		!r.below || r.port != 443 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Parse(Config{Allow: make([]string, maxRules+1)}); err == nil {
		t.Error("too many rules")
	}
}

func TestParsePublish(t *testing.T) {
	for word, want := range map[string]string{
		"8080:80":           "{127.0.0.1 8080 80}",
		"0:80":              "{127.0.0.1 0 80}",
		"0.0.0.0:8080:80":   "{0.0.0.0 8080 80}",
		"[::1]:8080:80":     "{::1 8080 80}",
		"80":                "write it as",
		"":                  "write it as",
		"8080:0":            "is not a port",
		"8080:":             "is not a port",
		":80":               "is not a port",
		"x:80":              "is not a port",
		"8080:80/udp":       "is not a port",
		"localhost:8080:80": "is not an address",
		"::1:8080:80":       "is not an address",
		"[1.2.3.4]:8080:80": "is not an address",
		":8080:80":          "is not an address",
	} {
		p, err := parsePublish(word)
		if got := fmt.Sprint(p, err); !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %q", word, got, want)
		}
	}
	if _, err := Parse(Config{Publish: []string{"80:1", "127.0.0.1:80:2"}}); err == nil {
		t.Error("one port was published twice")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, mac := range []string{"x", "01:00:00:00:00:01", "02:00:00:00:00:00:00:01", gatewayMAC().String()} {
		if _, err := New(t.Context(), Config{MAC: mac}); err == nil {
			t.Errorf("%s was taken", mac)
		}
	}
	first, second := RandomMAC(), RandomMAC()
	if _, err := net.ParseMAC(first); err != nil || first == second {
		t.Errorf("the addresses %s and %s: %v", first, second, err)
	}
}

// TestInfo pins the names of the fields and what they say after some traffic.
func TestInfo(t *testing.T) {
	w := newWorld(t)
	w.set("www.example.org", listed)
	cfg := w.config("www.example.org:7/tcp", "10.0.0.0/8:443")
	cfg.MAC = "02:00:00:00:00:07"
	g := newGuest(t, cfg)
	g.lookup("www.example.org")
	try{"tcp", listed + ":7", ""}.run(g)
	try{"tcp", unlisted + ":7", ""}.run(g)
	eventually(t, "the connection is over", func() bool { return g.net.Info().Counters.ConnectionsOpen == 0 })
	info := g.net.Info()
	if info.Counters.BytesIn == 0 || info.Counters.BytesOut == 0 {
		t.Errorf("%+v", info.Counters)
	}
	info.Counters.BytesIn, info.Counters.BytesOut = 1, 2
	text, _ := json.Marshal(info)
	want := `{"enabled":true,"guest_address":"192.0.0.2","gateway":"192.0.0.1","dns":"192.0.0.1","mac":"02:00:00:00:00:07","mtu":65520,` +
		`"policy":{"mode":"allow-list","allow":["www.example.org:7/tcp","10.0.0.0/8:443"]},` +
		`"counters":{"bytes_in":1,"bytes_out":2,"connections_open":0,"connections_allowed":1,"connections_refused":1,"connections_failed":0,` +
		`"dns_answered":1,"dns_refused":0,"frames_dropped":0},"published":[]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	lines := w.decisions()
	if len(lines) != 3 || lines[0].Protocol != "dns" || !lines[1].Allowed ||
		lines[1].Name != "www.example.org" || lines[2].Allowed || lines[2].Destination != unlisted+":7" {
		t.Errorf("decisions %+v", lines)
	}
}

// TestJournalIsBounded writes far more decisions than are passed on, and says how many were not.
func TestJournalIsBounded(t *testing.T) {
	now := time.Now()
	var lines []Decision
	j := journal{log: func(d Decision) { lines = append(lines, d) }, now: func() time.Time { return now },
		tokens: journalBurst}
	for range 10 * journalBurst {
		j.write(Decision{})
	}
	if len(lines) != journalBurst {
		t.Errorf("%d lines", len(lines))
	}
	now = now.Add(time.Second)
	j.write(Decision{})
	if last := lines[len(lines)-1]; last.Skipped != 9*journalBurst {
		t.Errorf("%+v", last)
	}
}

// TestOwnAddresses finds this host's loopback among its addresses.
func TestOwnAddresses(t *testing.T) {
	var o ownAddresses
	for range 2 {
		found := false
		for _, a := range o.list() {
			found = found || a == netip.MustParseAddr("127.0.0.1")
		}
		if !found {
			t.Errorf("got %v", o.list())
		}
	}
}
