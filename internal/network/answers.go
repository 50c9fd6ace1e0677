package network

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// answers remembers which names an address was given for. A policy by name rests on it: a connection goes to
// an address, and only the answer that the guest got ties that to a name.
type answers struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]map[string]time.Time // until when
	count  int
}

// record notes that the addresses were given for the name.
func (a *answers) record(name string, addrs []netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range addrs {
		names := a.byAddr[addr]
		if names == nil {
			names = map[string]time.Time{}
			a.byAddr[addr] = names
		}
		if _, known := names[name]; !known {
			a.count++
		}
		names[name] = now.Add(answerMemory)
	}
	if a.count > maxAnswers {
		a.expire(now)
	}
	for a.count > maxAnswers {
		a.dropOldest()
	}
}

// names lists the names that the address was given for, sorted.
func (a *answers) names(addr netip.Addr, now time.Time) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for name, until := range a.byAddr[addr] {
		if now.Before(until) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (a *answers) expire(now time.Time) {
	for addr, names := range a.byAddr {
		for name, until := range names {
			if !now.Before(until) {
				a.drop(addr, name)
			}
		}
	}
}

// dropOldest makes room for a quarter of the table, so that a flood of names costs little for each.
func (a *answers) dropOldest() {
	var times []time.Time
	for _, names := range a.byAddr {
		for _, until := range names {
			times = append(times, until)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	limit := times[len(times)/4]
	for addr, names := range a.byAddr {
		for name, until := range names {
			if !until.After(limit) && a.count > maxAnswers*3/4 {
				a.drop(addr, name)
			}
		}
	}
}

func (a *answers) drop(addr netip.Addr, name string) {
	delete(a.byAddr[addr], name)
	a.count--
	if len(a.byAddr[addr]) == 0 {
		delete(a.byAddr, addr)
	}
}
