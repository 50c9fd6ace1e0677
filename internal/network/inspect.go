package network

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// firstBytes bounds the head of an HTTP request.
const firstBytes = 32 << 10

// checker looks at what a guest sends on a connection that a name rule opened. The address was given for a
// listed name, but others may share it, so the connection has to say which name it is for. One rule holds on
// every port: it is TLS, and the server name of each hello is listed; or HTTP/1, and the host of each request
// is; or SSH, which has no names. All else is refused, unless the rule itself says that the port is for any
// protocol (NAME:PORT/tcp), which does not come here. The bytes go to the host once they are found right.
type checker struct {
	host    io.Writer
	policy  *Policy
	port    uint16
	refused func(name, reason string)
}

// errRefused ends a connection that asked for what is not listed. The reason has been told.
var errRefused = errors.New("refused by the policy")

// errHost says that the host's side takes no more.
var errHost = errors.New("cannot send to the host")

// spoken says what may be spoken on a port that a name opened.
const spoken = "a name opens its ports to TLS, HTTP/1 and SSH, and to all only by NAME:PORT/tcp"

// check returns nil if the rest of the connection needs no look, io.EOF if the guest has sent all.
func (c *checker) check(guest io.Reader) error {
	r := bufio.NewReaderSize(guest, 4<<10)
	first, err := r.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == recordHandshake {
		return c.checkTLS(r)
	}
	ssh, err := startsWith(r, "SSH-")
	switch {
	case err != nil:
		return err
	case !ssh:
		return c.checkHTTP(r)
	}
	return c.checkSSH(r)
}

// startsWith looks at no more bytes than it takes to tell.
func startsWith(r *bufio.Reader, prefix string) (bool, error) {
	for i := 1; i <= len(prefix); i++ {
		got, err := r.Peek(i)
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if got[i-1] != prefix[i-1] {
			return false, nil
		}
	}
	return true, nil
}

// maxSSHLine is the longest first line of SSH (RFC 4253).
const maxSSHLine = 255

// checkSSH passes on the line that an SSH client begins with, if no HTTP server could find a request in it:
// that would need a target or a version.
func (c *checker) checkSSH(r *bufio.Reader) error {
	var line []byte
	for len(line) == 0 || line[len(line)-1] != '\n' {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		if line = append(line, b); len(line) > maxSSHLine {
			return c.refuse("", "not the start of an SSH connection; "+spoken)
		}
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
	odd := strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '/' || r == ':' })
	if odd || !strings.HasPrefix(text, "SSH-2.0-") {
		return c.refuse("", "not the start of an SSH connection; "+spoken)
	}
	if err := c.pass(line); err != nil {
		return err
	}
	rest, _ := r.Peek(r.Buffered())
	return c.pass(rest)
}

// judge checks a name that the guest has asked for against the list.
func (c *checker) judge(name string) error {
	canonical, ok := canonicalName(name)
	if !ok {
		return c.refuse("", "the connection asks for no name of a host")
	}
	if _, ok := c.policy.nameRule("tcp", canonical, c.port); !ok {
		return c.refuse(canonical, "the connection asks for a name that is not listed")
	}
	return nil
}

func (c *checker) refuse(name, reason string) error {
	c.refused(name, reason)
	return errRefused
}

func (c *checker) pass(data []byte) error {
	_, err := hostWriter{c.host}.Write(data)
	return err
}

// hostWriter marks the errors of the host's side, so that they are not taken for the guest's.
type hostWriter struct{ to io.Writer }

func (w hostWriter) Write(p []byte) (int, error) {
	done, err := w.to.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", errHost, err)
	}
	return done, err
}
