package network

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// update writes the page in place of comparing it.
var update = flag.Bool("update", false, "write docs/network-policy-table.md anew")

// tablePage holds the policy table for people.
const tablePage = "../../docs/network-policy-table.md"

const tableHead = `# The network's policy: attempt and result

Each row was tried: ` + "`go test -run TestPolicy ./internal/network`" +
	` runs them all, checks that nothing was sent
where a row says refused, and fails where this page says something else (` + "`-update`" +
	` writes it anew). In the tests' world
` + "`www.example.org` is 93.184.216.34, `shared.example.org` and `other.example.org` are both 93.184.216.35," + `
93.184.216.36 has no name, 93.184.216.37 is an address of the host itself, ` + gatewayAddress +
	` is the gateway, which stands
for the host's loopback.

- **open**: it gets through. **refused**: a reset, or an ICMP error for UDP. **reset**: the connection began, and was cut when its
  first bytes did not name what is listed. **silence**: dropped. **no name**: the name does not resolve.
- What stands in ` + "`code`" + ` is sent as it is, with ` + "`Host: other.example.org`" + ` further on.
- "after" is the name that the guest looked up before: an allow-list of names opens the addresses of their answers alone.
`

// words tells an attempt to people.
func (a try) words() string {
	switch a.kind {
	case "dns":
		return "look up " + a.name
	case "dns/tcp":
		return "look up " + a.name + " over TCP"
	case "tls":
		if a.name == "" {
			return "TLS to " + a.where + kindOf(a.where) + " without a name"
		}
		return "TLS to " + a.where + kindOf(a.where) + " for " + a.name
	case "say":
		return fmt.Sprintf("`%s` to %s", strings.ReplaceAll(strings.Trim(fmt.Sprintf("%.45q", a.name), `"`),
			"|", ""), a.where+kindOf(a.where))
	case "http":
		return strings.TrimSuffix("HTTP to "+a.where+kindOf(a.where)+" for "+a.name, " for ")
	}
	return strings.ToUpper(a.kind) + " to " + a.where + kindOf(a.where)
}

// kindOf says what an address is that is not public.
func kindOf(where string) string {
	addr := netip.MustParseAddrPort(where).Addr()
	special := classOf(addr)
	switch {
	case addr.String() == gatewayAddress:
		return " (gateway)"
	case addr.String() == ownPub:
		return " (the host's)"
	case special != nil:
		return " (" + special.word + ")"
	}
	return ""
}

// result tells an outcome to people.
func result(want string) string {
	switch {
	case want == "ok" || want == "200":
		return "open"
	case strings.HasPrefix(want, "["):
		return strings.Trim(want, "[]")
	}
	return want
}

// policyTable is the page for rows, under a heading for each policy.
func policyTable(rows []row) string {
	var page strings.Builder
	page.WriteString(tableHead)
	var last *row
	for i, r := range rows {
		if last == nil || !slices.Equal(last.allow, r.allow) {
			heading := "`--network` alone"
			if slices.Equal(r.allow, []string{inbound}) {
				heading = "`--publish` alone"
			} else if len(r.allow) > 0 {
				heading = "`--allow " + strings.Join(r.allow, " --allow ") + "`"
			}
			fmt.Fprintf(&page, "\n## %s\n\n| attempt | after | result |\n|---|---|---|\n", heading)
		}
		fmt.Fprintf(&page, "| %s | %s | %s |\n", r.try.words(), r.first, result(r.want))
		last = &rows[i]
	}
	return page.String()
}

// checkTable compares the page with the rows, or writes it.
func checkTable(t *testing.T, update bool, rows []row) {
	t.Helper()
	want := policyTable(rows)
	if update {
		if err := os.WriteFile(tablePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(tablePage)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the test tries (%v): run go test -run TestPolicy ./internal/network -update",
			tablePage, err)
	}
	t.Log("\n" + want)
}
