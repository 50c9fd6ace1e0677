package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// resolver is what the name server asks. *net.Resolver is one.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Bounds of a message: what we read, what we answer in a datagram to those who tell no size and at most, and
// how many records stand in an answer.
const (
	maxQuestion    = 4 << 10
	plainUDPAnswer = 512
	maxUDPAnswer   = 4 << 10
	maxRecords     = 64
)

// question is a query that has been understood.
type question struct {
	header   dnsmessage.Header
	question dnsmessage.Question
	name     string // canonical; "" if it cannot be the name of a host
	size     int    // of the largest answer that fits into a datagram
}

// parseQuestion reads a query. The code is other than success if it is to be answered with that alone; it
// reports false for what deserves no answer.
func parseQuestion(message []byte) (q question, code dnsmessage.RCode, ok bool) {
	if len(message) > maxQuestion {
		return q, 0, false
	}
	var p dnsmessage.Parser
	var err error
	if q.header, err = p.Start(message); err != nil || q.header.Response {
		return q, 0, false
	}
	if q.header.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.question, q.size = questions[0], plainUDPAnswer
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil || p.SkipAdditional() != nil {
			return q, dnsmessage.RCodeFormatError, true
		}
		if h.Type == dnsmessage.TypeOPT {
			q.size = min(max(int(h.Class), plainUDPAnswer), maxUDPAnswer)
		}
	}
	if q.question.Class != dnsmessage.ClassINET {
		return q, dnsmessage.RCodeRefused, true
	}
	q.name, _ = canonicalName(q.question.Name.String())
	return q, dnsmessage.RCodeSuccess, true
}

// answerQuestion makes the answer to a query, nil if there is to be none. In a datagram the answer is cut off
// if it is too long, so that the guest asks again by TCP.
func (n *Network) answerQuestion(ctx context.Context, message []byte, datagram bool) []byte {
	q, code, ok := parseQuestion(message)
	if !ok {
		return nil
	}
	var records []dnsmessage.ResourceBody
	if code == dnsmessage.RCodeSuccess {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		records, code = n.lookUp(ctx, q)
	}
	answer := q.build(records, code, false)
	if datagram && len(answer) > q.size {
		answer = q.build(nil, code, true)
	}
	return answer
}

// build encodes an answer. The name is given back as it was written, since some guests put random capitals
// in.
func (q question) build(records []dnsmessage.ResourceBody, code dnsmessage.RCode, truncated bool) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{
		ID:                 q.header.ID,
		Response:           true,
		OpCode:             q.header.OpCode,
		RecursionDesired:   q.header.RecursionDesired,
		RecursionAvailable: true,
		RCode:              code,
		Truncated:          truncated,
	}}
	if q.question.Name.Length > 0 {
		m.Questions = []dnsmessage.Question{q.question}
	}
	for _, body := range records[:min(len(records), maxRecords)] {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{
				Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: uint32(answerTTL.Seconds()),
			},
			Body: body,
		})
	}
	packed, err := m.Pack()
	if err != nil {
		m.Answers, m.RCode = nil, dnsmessage.RCodeServerFailure
		if packed, err = m.Pack(); err != nil {
			return nil
		}
	}
	return packed
}

// lookUp answers a question under the policy. With an allow-list only addresses of listed names are told:
// other records could carry names and data that the list does not mean.
func (n *Network) lookUp(ctx context.Context, q question) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
	kind := strings.TrimPrefix(q.question.Type.String(), "Type")
	if q.question.Type == dnsmessage.TypePTR {
		return n.lookUpPTR(ctx, q)
	}
	if q.name == "" || !n.policy.nameListed(q.name) {
		n.answered(kind, q.name, false, "name not listed")
		return nil, dnsmessage.RCodeNameError
	}
	switch q.question.Type {
	case dnsmessage.TypeA:
		return n.lookUpA(ctx, q.name)
	case dnsmessage.TypeMX, dnsmessage.TypeTXT, dnsmessage.TypeNS, dnsmessage.TypeSRV:
		if n.policy.Mode() == ModePublic {
			return n.lookUpRecords(ctx, q)
		}
	}
	// There is no IPv6 and nothing else that a guest needs: the name exists, the record does not.
	n.answered(kind, q.name, true, "no such record")
	return nil, dnsmessage.RCodeSuccess
}

// lookUpA resolves a name and leaves out the addresses that the guest could not reach anyway, since they are
// not public. The rest is remembered: a connection by name needs it. A name that stands in this host's own
// table is told only if a rule lists it.
func (n *Network) lookUpA(ctx context.Context, name string) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
	if n.policy.Mode() == ModePublic && n.hooks.hosts.has(name) {
		n.answered("A", name, false, "a name of this host's own")
		return nil, dnsmessage.RCodeNameError
	}
	if name == HostName {
		if !n.policy.hostOpen() {
			n.answered("A", name, false, "no port of this host's is open")
			return nil, dnsmessage.RCodeNameError
		}
		n.answered("A", name, true, "this host")
		return []dnsmessage.ResourceBody{&dnsmessage.AResource{A: n.gateway.As4()}}, dnsmessage.RCodeSuccess
	}
	found, err := n.hooks.resolver.LookupNetIP(ctx, "ip4", name+".")
	if err != nil {
		n.answered("A", name, true, "not resolved")
		if isNotFound(err) {
			return nil, dnsmessage.RCodeNameError
		}
		return nil, dnsmessage.RCodeServerFailure
	}
	var records []dnsmessage.ResourceBody
	var given []netip.Addr
	var leftOut string
	for _, addr := range found[:min(len(found), maxRecords)] {
		addr = addr.Unmap()
		if reason, ok := n.policy.answerable(addr); !ok {
			leftOut = reason
			continue
		}
		given = append(given, addr)
		records = append(records, &dnsmessage.AResource{A: addr.As4()})
	}
	n.answers.record(name, given, n.hooks.now())
	if len(given) == 0 && leftOut != "" {
		n.answered("A", name, false, "resolves to a %s", leftOut)
		return nil, dnsmessage.RCodeSuccess
	}
	n.answered("A", name, true, "resolved")
	return records, dnsmessage.RCodeSuccess
}

// lookUpRecords asks for what is not an address. Only what the public internet knows is told: the name, each
// alias on the way and each host in an answer have to be public.
func (n *Network) lookUpRecords(
	ctx context.Context, q question,
) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
	kind := strings.TrimPrefix(q.question.Type.String(), "Type")
	failed := func(error) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
		n.answered(kind, q.name, true, "not resolved")
		return nil, dnsmessage.RCodeServerFailure
	}
	public, err := n.isPublic(ctx, q.name)
	if err != nil {
		return failed(err)
	}
	if !public {
		n.answered(kind, q.name, false, "not a public name")
		return nil, dnsmessage.RCodeNameError
	}
	found, code, err := n.hooks.records.records(ctx, q.name, q.question.Type)
	if err != nil || code != dnsmessage.RCodeSuccess && code != dnsmessage.RCodeNameError {
		return failed(err)
	}
	var bodies []dnsmessage.ResourceBody
	asked := map[string]bool{q.name: true}
	for _, r := range found[:min(len(found), maxRecords)] {
		owner, _ := canonicalName(r.Header.Name.String())
		if len(asked) > maxHosts {
			break
		}
		if _, known := asked[owner]; !known {
			if asked[owner], err = n.isPublic(ctx, owner); err != nil {
				return failed(err)
			}
		}
		if asked[owner] && r.Header.Type == q.question.Type && n.isTellable(ctx, r.Body) {
			bodies = append(bodies, r.Body)
		}
	}
	n.answered(kind, q.name, true, "public name")
	return bodies, code
}

// isTellable tells whether the host that a record names, if it names one, is public.
func (n *Network) isTellable(ctx context.Context, body dnsmessage.ResourceBody) bool {
	var host dnsmessage.Name
	switch r := body.(type) {
	case *dnsmessage.MXResource:
		host = r.MX
	case *dnsmessage.NSResource:
		host = r.NS
	case *dnsmessage.SRVResource:
		host = r.Target
	case *dnsmessage.TXTResource:
		return true
	default:
		return false
	}
	name, _ := canonicalName(host.String())
	return n.hasPublicAddress(ctx, name)
}

// lookUpPTR tells the public names of a public address; those of the host's networks are not for the guest.
func (n *Network) lookUpPTR(ctx context.Context, q question) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
	addr, ok := reversed(q.name)
	if _, tellable := n.policy.answerable(addr); !ok || !tellable || n.policy.Mode() != ModePublic {
		n.answered("PTR", q.name, false, "not a public address")
		return nil, dnsmessage.RCodeNameError
	}
	found, code, err := n.hooks.records.records(ctx, q.name, dnsmessage.TypePTR)
	n.answered("PTR", q.name, true, "public address")
	if err != nil || code != dnsmessage.RCodeSuccess && code != dnsmessage.RCodeNameError {
		return nil, dnsmessage.RCodeServerFailure
	}
	var bodies []dnsmessage.ResourceBody
	for _, r := range found[:min(len(found), maxHosts)] {
		ptr, ok := r.Body.(*dnsmessage.PTRResource)
		if !ok {
			continue
		}
		name, _ := canonicalName(ptr.PTR.String())
		if public, err := n.isPublic(ctx, name); err == nil && public {
			bodies = append(bodies, ptr)
		}
	}
	if len(bodies) == 0 {
		return nil, dnsmessage.RCodeNameError
	}
	return bodies, dnsmessage.RCodeSuccess
}

// reversed reads the address out of a name such as 4.3.2.1.in-addr.arpa.
func reversed(name string) (netip.Addr, bool) {
	parts := strings.Split(strings.TrimSuffix(name, ".in-addr.arpa"), ".")
	if len(parts) != 4 || !strings.HasSuffix(name, ".in-addr.arpa") {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
	return addr, err == nil
}

func isNotFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}
