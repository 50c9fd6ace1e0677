// Package socketpairtest joins two parts of a test by a socket.
package socketpairtest

import (
	"net"
	"testing"

	"github.com/pyro-mcp/pyro/internal/socketpair"
	"golang.org/x/sys/unix"
)

// Conns gives the ends of a stream, which the test's end closes.
func Conns(t testing.TB) (a, b net.Conn) {
	t.Helper()
	one, other, err := socketpair.Files(t.Name(), unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	defer other.Close()
	if a, err = net.FileConn(one); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if b, err = net.FileConn(other); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}
