package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// dialLimit bounds a connection to a server that is there and does not take it.
const dialLimit = 5 * time.Second

// dial connects the host to a server that listens on the guest's loopback.
func (a *Agent) dial(ctx context.Context, d link.Dial, stream *wire.Stream) (any, error) {
	if d.Port < 1 || d.Port > 65535 {
		return nil, &link.Error{Code: link.CodeInvalid, Message: fmt.Sprintf("%d is no port", d.Port)}
	}
	conn, err := connect(unix.AF_INET, &unix.SockaddrInet4{Port: d.Port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil {
		var inner error
		conn, inner = connect(unix.AF_INET6, &unix.SockaddrInet6{Port: d.Port, Addr: [16]byte{15: 1}})
		err = errors.Join(err, inner)
		if inner == nil {
			err = nil
		}
	}
	if err != nil {
		message := fmt.Sprintf("nobody listens on port %d: %v", d.Port, err)
		return nil, &link.Error{Code: link.CodeState, Message: message}
	}
	return link.Empty{}, link.Relay(ctx, stream, conn)
}

// loopback is a connection in the hands of the runtime's poller. Package net would make the agent half a
// megabyte larger.
type loopback struct{ *os.File }

// CloseWrite says that nothing more is sent.
func (s loopback) CloseWrite() error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return errors.Join(err, failed)
}

func connect(family int, to unix.Sockaddr) (loopback, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return loopback{}, err
	}
	limit := unix.NsecToTimeval(int64(dialLimit))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	if err == nil {
		err = unix.Connect(fd, to)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return loopback{}, err
	}
	return loopback{os.NewFile(uintptr(fd), "loopback")}, nil
}
