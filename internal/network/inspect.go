package network

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
)

// firstBytes bounds what is kept of a connection before it is known what it is for: a TLS client's hello or
// the head of an HTTP request.
const firstBytes = 32 << 10

// checkName looks at the first bytes of a connection that a name rule opened. The address was given for a
// listed name, but others may share it, so the connection has to say which name it is for: TLS by the server
// name in its hello, HTTP by the host of each request. On ports 443 and 80 nothing else passes; on others what
// is neither passes on the strength of the address. The bytes go to the host once they are found right.
//
// It returns nil if the rest of the connection needs no look, io.EOF if the guest has sent all.
func (s *session) checkName(guest io.Reader) error {
	r := bufio.NewReaderSize(guest, 4<<10)
	first, err := r.Peek(1)
	if err != nil {
		return err
	}
	port := s.dst.Port()
	if first[0] == recordHandshake || port == 443 {
		if err := s.checkTLS(r); err != nil {
			return err
		}
	} else {
		method, err := peekMethod(r)
		switch {
		case err != nil:
			return err
		case method:
			return s.checkHTTP(r)
		case port == 80:
			return s.refuseName("", "not the start of an HTTP request")
		}
	}
	rest, _ := r.Peek(r.Buffered())
	_, err = s.host.Write(rest)
	return err
}

// peekMethod tells whether the connection begins like an HTTP request: a word in capitals and a space. It
// looks at no more bytes than it takes to tell.
func peekMethod(r *bufio.Reader) (bool, error) {
	for i := 1; i <= 20; i++ {
		b, err := r.Peek(i)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, err
		}
		switch c := b[i-1]; {
		case c == ' ':
			return i > 2, nil
		case c < 'A' || c > 'Z':
			return false, nil
		}
	}
	return false, nil
}

// checkTLS reads the client's hello, judges its name and passes it on.
func (s *session) checkTLS(r io.Reader) error {
	var seen bytes.Buffer
	name, err := readServerName(io.TeeReader(io.LimitReader(r, firstBytes), &seen))
	if err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return s.refuseName("", "the connection ended before it told its name")
		}
		return s.refuseName("", err.Error())
	}
	if err := s.judgeName(name); err != nil {
		return err
	}
	_, err = s.host.Write(seen.Bytes())
	return err
}

// errRefused ends a connection that asked for what is not listed. The reason has been logged.
var errRefused = errors.New("refused by the policy")

// judgeName checks a name that the guest has asked for against the list.
func (s *session) judgeName(name string) error {
	canonical, ok := canonicalName(name)
	if !ok {
		return s.refuseName("", "the connection asks for no name of a host")
	}
	if _, ok := s.network.policy.nameRule(canonical, s.dst.Port()); !ok {
		return s.refuseName(canonical, "the connection asks for a name that is not listed")
	}
	return nil
}

func (s *session) refuseName(name, reason string) error {
	s.network.decided("tcp", s.dst, verdict{name: name, reason: reason})
	return errRefused
}

// hostOf takes the port off the host of an HTTP request.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.TrimSuffix(authority, ":")
}
