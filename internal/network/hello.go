package network

import "errors"

// Numbers of TLS extensions.
const (
	extensionServerName = 0
	extensionECH        = 0xfe0d
)

var (
	errNoName = errors.New("the TLS connection tells no server name")
	errHello  = errors.New("malformed TLS hello")
	errHidden = errors.New("the TLS connection may hide its name (encrypted client hello)")
)

// serverName finds the name in the body of a hello. A hello that could be read in two ways is refused.
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
