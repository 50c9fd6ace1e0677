package network

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Decision is one line of the log: what the guest tried and what became of it.
type Decision struct {
	Time        time.Time `json:"time"`
	Allowed     bool      `json:"allowed"`
	Protocol    string    `json:"protocol"`    // tcp, udp, icmp or dns
	Destination string    `json:"destination"` // address and port; the type of record for dns
	// The name that was asked for, or that the address was given for
	Name   string `json:"name,omitempty"`
	Reason string `json:"reason"`
	// Decisions before this one that were not logged, since there were too many
	Skipped int `json:"skipped,omitempty"`
}

// Info is the state of a network.
type Info struct {
	Enabled      bool        `json:"enabled"`
	GuestAddress string      `json:"guest_address"`
	Gateway      string      `json:"gateway"`
	DNS          string      `json:"dns"`
	MAC          string      `json:"mac"`
	MTU          int         `json:"mtu"`
	Policy       PolicyInfo  `json:"policy"`
	Counters     Counters    `json:"counters"`
	Published    []Published `json:"published"`
}

// PolicyInfo says what the guest may reach.
type PolicyInfo struct {
	Mode  string   `json:"mode"`
	Allow []string `json:"allow"`
}

// Counters are since the network was made. In and out are the guest's view.
type Counters struct {
	BytesIn            int64 `json:"bytes_in"`
	BytesOut           int64 `json:"bytes_out"`
	ConnectionsOpen    int64 `json:"connections_open"`
	ConnectionsAllowed int64 `json:"connections_allowed"` // TCP connections, UDP flows and echo requests
	ConnectionsRefused int64 `json:"connections_refused"`
	ConnectionsFailed  int64 `json:"connections_failed"` // allowed, but the other side could not be reached
	DNSAnswered        int64 `json:"dns_answered"`
	DNSRefused         int64 `json:"dns_refused"`
	// Malformed, with a false source, or of a protocol that is not offered
	FramesDropped int64 `json:"frames_dropped"`
}

// counters is Counters as it is written to.
type counters struct {
	in, out, allowed, refused, failed, dnsAnswered, dnsRefused, dropped atomic.Int64
}

// Info tells the network's state.
func (n *Network) Info() Info {
	c := &n.counters
	return Info{
		Enabled:      true,
		GuestAddress: n.guest.String(),
		Gateway:      n.gateway.String(),
		DNS:          n.gateway.String(),
		MAC:          n.mac.String(),
		MTU:          MTU,
		Policy:       PolicyInfo{Mode: n.policy.Mode(), Allow: n.policy.Allow()},
		Counters: Counters{
			BytesIn:            c.in.Load(),
			BytesOut:           c.out.Load(),
			ConnectionsOpen:    int64(n.sessions.open()),
			ConnectionsAllowed: c.allowed.Load(),
			ConnectionsRefused: c.refused.Load(),
			ConnectionsFailed:  c.failed.Load(),
			DNSAnswered:        c.dnsAnswered.Load(),
			DNSRefused:         c.dnsRefused.Load(),
			FramesDropped:      c.dropped.Load(),
		},
		Published: append([]Published{}, n.published...),
	}
}

// journal passes decisions on to the log, one at a time and not too many.
type journal struct {
	log func(Decision)
	now func() time.Time

	mu      sync.Mutex
	tokens  float64
	last    time.Time
	skipped int
}

func (j *journal) write(d Decision) {
	if j.log == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	d.Time = j.now()
	if !j.last.IsZero() {
		j.tokens = min(journalBurst, j.tokens+d.Time.Sub(j.last).Seconds()*journalRate)
	}
	j.last = d.Time
	if j.tokens < 1 {
		j.skipped++
		return
	}
	j.tokens--
	d.Skipped, j.skipped = j.skipped, 0
	j.log(d)
}

// decided counts and logs the verdict on a connection, a flow or an echo request.
func (n *Network) decided(protocol string, dst netip.AddrPort, v verdict) {
	if v.allowed {
		n.counters.allowed.Add(1)
	} else {
		n.counters.refused.Add(1)
	}
	where := dst.String()
	if protocol == "icmp" {
		where = dst.Addr().String()
	}
	n.journal.write(Decision{
		Allowed:     v.allowed,
		Protocol:    protocol,
		Destination: where,
		Name:        v.name,
		Reason:      v.reason,
	})
}

// answered counts and logs the verdict on a name question.
func (n *Network) answered(kind, name string, allowed bool, reason string, args ...any) {
	if allowed {
		n.counters.dnsAnswered.Add(1)
	} else {
		n.counters.dnsRefused.Add(1)
	}
	n.journal.write(Decision{
		Allowed:     allowed,
		Protocol:    "dns",
		Destination: kind,
		Name:        name,
		Reason:      fmt.Sprintf(reason, args...),
	})
}
