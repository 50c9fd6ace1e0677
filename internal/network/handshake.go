package network

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Numbers of TLS records and handshake messages.
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22
	recordData         = 23
	messageClientHello = 1
	maxRecord          = 16 << 10         // of a record in the clear
	maxSealedRecord    = maxRecord + 2048 // of an encrypted one
	maxHello           = 24 << 10
	maxHeld            = 64 << 10 // of the records that a hello comes in
)

var (
	errNotTLS  = errors.New("not the start of a TLS connection")
	errTLS     = errors.New("malformed TLS record")
	errTooLong = errors.New("the TLS hello is too long")
	errAgain   = errors.New("a second TLS handshake could be for another name")
)

// handshake follows what a TLS client sends, from the first byte to the last, so that no hello passes without
// being judged: not the first, not the second one that a server asks for with HelloRetryRequest, wherever it
// comes, not one of a renegotiation. The last is encrypted, so it is refused whatever it says. What the
// server answers is not looked at: the client's half alone must leave no doubt.
type handshake struct {
	judge   func(name string) error
	message []byte // a hello that has not come whole, or the head of any message
	rest    int    // bytes still to come of a message that is not a hello
	begun   bool   // a hello has been judged
	changed bool   // the client has told that it encrypts from now on
	data    bool   // it has sent data: TLS 1.3, early data before a second hello, or after the handshake
	sealed  bool   // its encrypted end of the handshake (TLS 1.2) has come
}

// waits tells whether the last record's end lies within a hello, or within the head of a message.
func (h *handshake) waits() bool { return len(h.message) > 0 }

// record takes a handshake record's body.
func (h *handshake) record(body []byte) error {
	if h.sealed {
		return errAgain
	}
	if (h.changed || h.data) && !h.waits() && h.rest == 0 && !mayBeHello(body) {
		if h.data {
			return errAgain
		}
		h.sealed = true
		return nil
	}
	for len(body) > 0 {
		if h.rest > 0 {
			skipped := min(h.rest, len(body))
			h.rest, body = h.rest-skipped, body[skipped:]
			continue
		}
		body = h.take(body, 4)
		if len(h.message) < 4 {
			return nil
		}
		length := messageLength(h.message)
		switch {
		case h.message[0] != messageClientHello && !h.begun:
			return errNotTLS
		case h.message[0] != messageClientHello:
			h.message, h.rest = nil, length
			continue
		case length > maxHello:
			return errTooLong
		}
		body = h.take(body, 4+length)
		if len(h.message) < 4+length {
			return nil
		}
		if len(body) > 0 {
			return errHello // nothing follows a hello in its record
		}
		name, err := serverName(h.message[4:])
		if err != nil {
			return err
		}
		if err := h.judge(name); err != nil {
			return err
		}
		h.message, h.begun = nil, true
	}
	return nil
}

// take moves bytes to the message until it has size of them, and returns the others.
func (h *handshake) take(body []byte, size int) []byte {
	count := min(max(size-len(h.message), 0), len(body))
	h.message = append(h.message, body[:count]...)
	return body[count:]
}

func messageLength(message []byte) int {
	return int(message[1])<<16 | int(binary.BigEndian.Uint16(message[2:]))
}

// mayBeHello tells whether a record could begin a hello in the clear. An encrypted message looks like one
// once in 200,000 times; its connection is then refused.
func mayBeHello(body []byte) bool {
	return body[0] == messageClientHello && (len(body) < 4 || messageLength(body) <= maxHello)
}

// checkTLS passes on a client's records until the guest has sent all. Those with a hello are kept back until
// it is judged.
func (c *checker) checkTLS(r *bufio.Reader) error {
	h := handshake{judge: c.judge}
	var held []byte
	for {
		head, err := readRecordHead(r)
		if err == io.EOF && h.begun && len(held) == 0 {
			return io.EOF
		}
		if err == nil {
			held, err = c.passRecord(r, &h, head, held)
		}
		switch {
		case err == nil:
		case errors.Is(err, errRefused), errors.Is(err, errHost):
			return err
		case h.begun && len(held) == 0 && isCut(err):
			return io.EOF
		case isCut(err):
			return c.refuse("", "the connection ended before it told its name")
		case isTLS(err):
			return c.refuse("", err.Error())
		default:
			return err
		}
	}
}

// passRecord passes one record on, behind those that are held. It returns what is held now.
func (c *checker) passRecord(r *bufio.Reader, h *handshake, head [5]byte, held []byte) ([]byte, error) {
	size := int(binary.BigEndian.Uint16(head[3:]))
	switch kind := head[0]; {
	case kind == recordHandshake:
		start := len(held) + len(head)
		if start+size > maxHeld {
			return held, errTooLong
		}
		held = append(append(held, head[:]...), make([]byte, size)...)
		if _, err := io.ReadFull(r, held[start:]); err != nil {
			return held, err
		}
		if err := h.record(held[start:]); err != nil {
			return held, err
		}
		if h.waits() {
			return held, nil
		}
		return nil, c.pass(held)
	case !h.begun:
		return held, errNotTLS
	case h.waits():
		return held, errTLS
	case kind == recordChangeCipher:
		h.changed = true
	case kind == recordData:
		h.data = true
	}
	if err := c.pass(head[:]); err != nil {
		return held, err
	}
	return held, copyCount(hostWriter{c.host}, r, int64(size))
}

// readRecordHead reads the head of a record that this is able to follow.
func readRecordHead(r *bufio.Reader) (head [5]byte, err error) {
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return head, err
	}
	kind := head[0]
	if kind < recordChangeCipher || kind > recordData {
		return head, errNotTLS
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return head, err
	}
	size := int(binary.BigEndian.Uint16(head[3:]))
	if head[1] != 3 || size == 0 || size > maxSealedRecord || kind == recordChangeCipher && size != 1 {
		return head, errNotTLS
	}
	return head, nil
}

func isCut(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// isTLS tells whether an error is about what the guest sent.
func isTLS(err error) bool {
	for _, own := range []error{errNotTLS, errTLS, errTooLong, errAgain, errHello, errNoName, errHidden} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}
