package network

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// firstBytes bounds what is kept of a connection before it is known what it is for: a TLS client's hello or
// the head of an HTTP request.
const firstBytes = 32 << 10

// checker looks at what a guest sends on a connection that a name rule opened. The address was given for a
// listed name, but others may share it, so the connection has to say which name it is for: TLS by the server
// name in its hello, HTTP by the host of each request. On ports 443 and 80 nothing else passes; on others what
// is neither passes on the strength of the address. The bytes go to the host once they are found right.
type checker struct {
	host    io.Writer
	policy  *Policy
	port    uint16
	refused func(name, reason string)
}

// errRefused ends a connection that asked for what is not listed. The reason has been told.
var errRefused = errors.New("refused by the policy")

// check returns nil if the rest of the connection needs no look, io.EOF if the guest has sent all.
func (c *checker) check(guest io.Reader) error {
	r := bufio.NewReaderSize(guest, 4<<10)
	first, err := r.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == recordHandshake || c.port == 443 {
		if err := c.checkTLS(r); err != nil {
			return err
		}
	} else {
		method, err := peekMethod(r)
		switch {
		case err != nil:
			return err
		case method:
			return c.checkHTTP(r)
		case c.port == 80:
			return c.refuse("", "not the start of an HTTP request")
		}
	}
	rest, _ := r.Peek(r.Buffered())
	_, err = c.host.Write(rest)
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
func (c *checker) checkTLS(r io.Reader) error {
	var seen bytes.Buffer
	name, err := readServerName(io.TeeReader(io.LimitReader(r, firstBytes), &seen))
	if err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return c.refuse("", "the connection ended before it told its name")
		}
		return c.refuse("", err.Error())
	}
	if err := c.judge(name); err != nil {
		return err
	}
	_, err = c.host.Write(seen.Bytes())
	return err
}

// judge checks a name that the guest has asked for against the list.
func (c *checker) judge(name string) error {
	canonical, ok := canonicalName(name)
	if !ok {
		return c.refuse("", "the connection asks for no name of a host")
	}
	if _, ok := c.policy.nameRule(canonical, c.port); !ok {
		return c.refuse(canonical, "the connection asks for a name that is not listed")
	}
	return nil
}

func (c *checker) refuse(name, reason string) error {
	c.refused(name, reason)
	return errRefused
}
