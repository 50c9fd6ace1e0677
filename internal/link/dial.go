package link

import (
	"context"
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Dial asks for a connection to a server in the guest that listens on the guest's own loopback, 127.0.0.1 or
// ::1. Its first message is of [KindNote] and says that there is one; the second says that the server sends
// no more.
type Dial struct {
	Port int  `json:"port"`
	UDP  bool `json:"udp,omitempty"` // each datagram goes behind its length, 16 bits, little-endian
}

// Duplex is a connection, each direction of which ends by itself.
type Duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Dial connects to a server in the guest. ctx bounds the call alone. An error of [CodeState] means that
// nobody listens.
func (c *Client) Dial(ctx context.Context, d Dial) (Duplex, error) {
	s, err := c.begin(ctx, OpDial, d, c.conn.OpenSmall)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	m, err := s.Recv()
	switch {
	case !stop():
		err = context.Cause(ctx)
	case err != nil:
		err = lost(err)
	case m.Kind == KindControl:
		var reply Reply
		if reply, err = c.parseReply(m.Data); err == nil {
			err = reply.Err()
		}
		if err == nil {
			err = &Error{Code: CodeInternal, Message: "the answer to a dial makes no sense"}
		}
	case m.Kind == KindNote:
		return &dialled{s: s}, nil
	default:
		err = &Error{Code: CodeInternal, Message: "data came before a connection"}
	}
	s.Close()
	return nil, err
}

// dialled is the asking side of a connection.
type dialled struct {
	s    *wire.Stream
	rest []byte
	over bool
}

func (d *dialled) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		if d.over {
			return 0, io.EOF
		}
		m, err := d.s.Recv()
		switch {
		case err != nil:
			return 0, lost(err)
		case m.Kind == KindData:
			d.rest = m.Data
		default: // a note, or the reply if both directions have ended
			d.over = true
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

func (d *dialled) Write(p []byte) (int, error) { return Writer(d.s, KindData).Write(p) }

func (d *dialled) CloseWrite() error { return d.s.CloseSend() }

func (d *dialled) Close() error { return d.s.Close() }

// Relay answers [OpDial] on the side that has the connection, until both directions have ended or one has
// failed. It closes the connection.
func Relay(ctx context.Context, s *wire.Stream, conn Duplex) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := s.Send(KindNote, nil); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, Reader(s, KindData))
		if err == nil {
			err = conn.CloseWrite()
		}
		if err != nil {
			conn.Close() // so that what comes from there ends, too
		}
		sent <- err
	}()
	_, err := io.Copy(Writer(s, KindData), conn)
	if err == nil {
		err = s.Send(KindNote, nil)
	}
	if err != nil {
		conn.Close()
		s.CloseRecv()
	}
	if failed := <-sent; err == nil {
		err = failed
	}
	if err != nil {
		return &Error{Code: CodeState, Message: fmt.Sprintf("the connection broke: %v", err)}
	}
	return nil
}
