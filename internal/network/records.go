package network

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/publicsuffix"
)

// recordSource gives records that are not addresses, with the aliases on the way to them.
type recordSource interface {
	records(ctx context.Context, name string, kind dnsmessage.Type) ([]dnsmessage.Resource, dnsmessage.RCode,
		error)
}

// Bounds of asking a name server, and of what one question of the guest may cause.
const (
	serverTimeout = 3 * time.Second
	maxServers    = 3
	maxAnswer     = 64 << 10
	maxLabels     = 12 // of a name whose zone is looked for
	maxHosts      = 16 // hosts in records that are looked at
)

// servers asks the name servers that stand in the host's resolv.conf. Nothing else of the host's resolution
// is used: no hosts file, no search list.
type servers struct{ file string }

func (s servers) records(
	ctx context.Context, name string, kind dnsmessage.Type,
) ([]dnsmessage.Resource, dnsmessage.RCode, error) {
	id := uint16(rand.Uint32())
	query, err := packQuery(id, name, kind)
	if err != nil {
		return nil, 0, err
	}
	var errs []error
	for _, server := range s.list() {
		for _, protocol := range []string{"udp", "tcp"} {
			found, code, truncated, err := ask(ctx, protocol, server, query)
			if err == nil && !truncated {
				return found, code, nil
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", server, err))
				break
			}
		}
	}
	return nil, 0, errors.Join(append(errs, errors.New("no name server answers"))...)
}

// list reads the servers anew each time: the host may have moved to another network.
func (s servers) list() (list []string) {
	file, err := os.Open(s.file)
	if err == nil {
		defer file.Close()
		for lines := bufio.NewScanner(io.LimitReader(file, 64<<10)); lines.Scan() && len(list) < maxServers; {
			words := strings.Fields(lines.Text())
			if len(words) < 2 || words[0] != "nameserver" {
				continue
			}
			if addr, err := netip.ParseAddr(words[1]); err == nil {
				list = append(list, net.JoinHostPort(addr.String(), "53"))
			}
		}
	}
	if len(list) == 0 {
		list = []string{"127.0.0.1:53"}
	}
	return list
}

func packQuery(id uint16, name string, kind dnsmessage.Type) ([]byte, error) {
	host, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: host, Type: kind, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// ask asks one server by one protocol.
func ask(
	ctx context.Context, protocol, server string, query []byte,
) (found []dnsmessage.Resource, code dnsmessage.RCode, truncated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, protocol, server)
	if err != nil {
		return nil, 0, false, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	message := query
	if protocol == "tcp" {
		message = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	}
	if _, err := conn.Write(message); err != nil {
		return nil, 0, false, err
	}
	for range 16 { // answers to other questions are passed over
		answer, err := readAnswer(conn, protocol)
		if err != nil {
			return nil, 0, false, err
		}
		if found, code, truncated, err = parseAnswer(query, answer); err == nil {
			return found, code, truncated, nil
		}
	}
	return nil, 0, false, errors.New("the server does not answer what it is asked")
}

func readAnswer(conn io.Reader, protocol string) ([]byte, error) {
	size := maxAnswer
	if protocol == "tcp" {
		var head [2]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return nil, err
		}
		answer := make([]byte, binary.BigEndian.Uint16(head[:]))
		_, err := io.ReadFull(conn, answer)
		return answer, err
	}
	answer := make([]byte, size)
	count, err := conn.Read(answer)
	return answer[:count], err
}

// parseAnswer reads the answer to a query.
func parseAnswer(
	query, answer []byte,
) (found []dnsmessage.Resource, code dnsmessage.RCode, truncated bool, err error) {
	var asked, p dnsmessage.Parser
	want, err := asked.Start(query)
	if err != nil {
		return nil, 0, false, err
	}
	question, err := asked.Question()
	if err != nil {
		return nil, 0, false, err
	}
	got, err := p.Start(answer)
	if err != nil || !got.Response || got.ID != want.ID {
		return nil, 0, false, errors.New("not an answer to the question")
	}
	q, err := p.Question()
	same := strings.EqualFold(q.Name.String(), question.Name.String())
	if err != nil || !same || q.Type != question.Type || q.Class != question.Class ||
		p.SkipAllQuestions() != nil {
		return nil, 0, false, errors.New("an answer to another question")
	}
	if got.Truncated {
		return nil, 0, true, nil
	}
	for len(found) < 4*maxRecords {
		r, err := p.Answer()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return nil, 0, false, err
		}
		if r.Header.Class == dnsmessage.ClassINET &&
			(r.Header.Type == question.Type || r.Header.Type == dnsmessage.TypeCNAME) {
			found = append(found, r)
		}
	}
	return found, got.RCode, false, nil
}

// isManaged tells whether a name lies below a top-level domain of the public internet, not below ".internal",
// ".local" and the like.
func isManaged(name string) bool {
	suffix, listed := publicsuffix.PublicSuffix(name)
	return (listed || strings.Contains(suffix, ".")) && suffix != name
}

// isPublic tells whether a name stands in the public part of the name system: the zone that it is in has
// servers, and all of them have public addresses. A zone that this host's network alone knows has servers of
// that network, unless somebody named others in it.
func (n *Network) isPublic(ctx context.Context, name string) (bool, error) {
	labels := strings.Split(name, ".")
	if len(labels) > maxLabels || !isManaged(name) || n.hooks.hosts.has(name) {
		return false, nil
	}
	for i := 0; i < len(labels)-1; i++ {
		zone := strings.Join(labels[i:], ".")
		found, code, err := n.hooks.records.records(ctx, zone, dnsmessage.TypeNS)
		if err != nil || code != dnsmessage.RCodeSuccess && code != dnsmessage.RCodeNameError {
			return false, errors.Join(err, errors.New("the zone's servers are not known"))
		}
		hosts := hostsOf(found, zone)
		if len(hosts) == 0 {
			continue
		}
		for _, host := range hosts[:min(len(hosts), maxHosts)] {
			if !n.hasPublicAddress(ctx, host) {
				return false, nil
			}
		}
		return true, nil
	}
	return false, nil
}

// hostsOf lists the servers of a zone.
func hostsOf(found []dnsmessage.Resource, zone string) (hosts []string) {
	for _, r := range found {
		ns, ok := r.Body.(*dnsmessage.NSResource)
		if owner, _ := canonicalName(r.Header.Name.String()); !ok || owner != zone {
			continue
		}
		host, _ := canonicalName(ns.NS.String())
		hosts = append(hosts, host) // "" is a server without an address
	}
	return hosts
}

// hasPublicAddress tells whether a host has addresses, and none that the guest may not know.
func (n *Network) hasPublicAddress(ctx context.Context, host string) bool {
	if host == "" || !isManaged(host) || n.hooks.hosts.has(host) {
		return false
	}
	found, err := n.hooks.resolver.LookupNetIP(ctx, "ip4", host+".")
	private := func(a netip.Addr) bool { _, ok := n.policy.answerable(a.Unmap()); return !ok }
	return err == nil && len(found) > 0 && !slices.ContainsFunc(found, private)
}
