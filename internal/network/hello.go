package network

import (
	"encoding/binary"
	"errors"
	"io"
)

// Numbers of the TLS protocol.
const (
	recordHandshake     = 22
	messageClientHello  = 1
	extensionServerName = 0
	extensionECH        = 0xfe0d
	maxRecord           = 16 << 10
	maxHello            = 24 << 10
)

var (
	errNotTLS  = errors.New("not the start of a TLS connection")
	errNoName  = errors.New("the TLS connection tells no server name")
	errHello   = errors.New("malformed TLS hello")
	errHidden  = errors.New("the TLS connection may hide its name (encrypted client hello)")
	errTooLong = errors.New("the TLS hello is too long")
)

// readServerName reads a TLS client's hello, which may be split over records and segments in any way, and
// returns the server name in it. It reads whole records and no byte behind the last one that it needs. A hello
// that could be read in two ways is refused.
func readServerName(r io.Reader) (string, error) {
	var message []byte
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:1]); err != nil {
			return "", err
		}
		if head[0] != recordHandshake {
			return "", errNotTLS
		}
		if _, err := io.ReadFull(r, head[1:]); err != nil {
			return "", err
		}
		size := int(binary.BigEndian.Uint16(head[3:]))
		if head[1] != 3 || size == 0 || size > maxRecord {
			return "", errNotTLS
		}
		if len(message)+size > maxHello {
			return "", errTooLong
		}
		start := len(message)
		message = append(message, make([]byte, size)...)
		if _, err := io.ReadFull(r, message[start:]); err != nil {
			return "", err
		}
		if message[0] != messageClientHello {
			return "", errNotTLS
		}
		if len(message) < 4 {
			continue
		}
		length := int(message[1])<<16 | int(binary.BigEndian.Uint16(message[2:]))
		switch {
		case length > maxHello:
			return "", errTooLong
		case len(message) > 4+length:
			return "", errHello
		case len(message) == 4+length:
			return serverName(message[4:])
		}
	}
}

// serverName finds the name in the body of a hello.
func serverName(hello []byte) (string, error) {
	c := cursor(hello)
	c.skip(2 + 32) // version, random
	c.vector(1)    // session
	c.vector(2)    // cipher suites
	c.vector(1)    // compression methods
	extensions := cursor(c.vector(2))
	if c == nil || len(c) > 0 {
		return "", errHello
	}
	name, found := "", false
	for len(extensions) > 0 {
		kind := extensions.number(2)
		body := cursor(extensions.vector(2))
		switch {
		case extensions == nil:
			return "", errHello
		case kind == extensionECH:
			return "", errHidden
		case kind != extensionServerName:
			continue
		case found:
			return "", errHello
		}
		names := cursor(body.vector(2))
		nameType := names.number(1)
		text := names.vector(2)
		if body == nil || len(body) > 0 || names == nil || len(names) > 0 || nameType != 0 || len(text) == 0 {
			return "", errHello
		}
		name, found = string(text), true
	}
	if !found {
		return "", errNoName
	}
	return name, nil
}

// cursor walks over bytes. After a step beyond the end it is nil, and every further step yields nothing.
type cursor []byte

// skip goes on by count bytes and returns them.
func (c *cursor) skip(count int) []byte {
	if *c == nil || count > len(*c) {
		*c = nil
		return nil
	}
	out := (*c)[:count:count]
	*c = (*c)[count:]
	return out
}

// number reads an unsigned number of size bytes.
func (c *cursor) number(size int) int {
	n := 0
	for _, b := range c.skip(size) {
		n = n<<8 | int(b)
	}
	return n
}

// vector reads bytes that stand behind their number, which has size bytes.
func (c *cursor) vector(size int) []byte { return c.skip(c.number(size)) }
