package pyro

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// DialTaskRequest names a server in a task.
type DialTaskRequest struct {
	TaskID string
	// Port is the server's, on the guest's loopback.
	Port int
}

// DialTask connects to a server in a running task that listens on the guest's loopback or on all its
// addresses. It needs no network in the task, and opens no port of the host. ctx bounds the call alone; the
// connection is the caller's to close. An [ErrState] means that nobody listens. The connection has no
// deadlines: setting one gives os.ErrNoDeadline.
func (p *Pyro) DialTask(ctx context.Context, r DialTaskRequest) (net.Conn, error) {
	if r.Port < 1 || r.Port > 65535 {
		return nil, &Error{Kind: ErrInvalid, Message: fmt.Sprintf("%d is no port", r.Port)}
	}
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
		return nil, err
	}
	s, err := p.reach(ctx, r.TaskID)
	if err != nil {
		return nil, err
	}
	conn, err := s.Client.Dial(ctx, link.Dial{Port: r.Port})
	if err != nil {
		s.Close()
		return nil, fromLink(fmt.Sprintf("cannot reach port %d of %q", r.Port, r.TaskID), err)
	}
	return &taskConn{Duplex: conn, session: s}, nil
}

// taskConn is a connection to a server in a task.
type taskConn struct {
	link.Duplex
	session *instances.Session
}

func (c *taskConn) Close() error {
	err := c.Duplex.Close()
	c.session.Close()
	return err
}

// taskAddr is an end of a connection into a task, which has no address on the host.
type taskAddr struct{}

func (taskAddr) Network() string { return "pyro" }
func (taskAddr) String() string  { return "task" }

func (c *taskConn) LocalAddr() net.Addr              { return taskAddr{} }
func (c *taskConn) RemoteAddr() net.Addr             { return taskAddr{} }
func (c *taskConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *taskConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *taskConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
