package link

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ListenDir listens on a Unix socket in a directory, which must not be there yet. The socket's address goes
// through the open directory, so that the path may be longer than a socket's address can be.
func ListenDir(dir, name string) (*net.UnixListener, error) {
	var listener *net.UnixListener
	err := throughDir(dir, name, func(addr *net.UnixAddr) (err error) {
		listener, err = net.ListenUnix("unix", addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen in %q: %w", dir, err)
	}
	listener.SetUnlinkOnClose(false)
	return listener, os.Chmod(filepath.Join(dir, name), 0o600)
}

// DialDir connects to a Unix socket in a directory, and gives the pid of who listens there.
func DialDir(dir, name string) (conn *net.UnixConn, pid int, err error) {
	err = throughDir(dir, name, func(addr *net.UnixAddr) (err error) {
		conn, err = net.DialUnix("unix", nil, addr)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	cred, err := Peer(conn)
	if err == nil && cred.Uid != uint32(os.Geteuid()) {
		err = fmt.Errorf("the socket in %q belongs to user %d", dir, cred.Uid)
	}
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close())
	}
	return conn, int(cred.Pid), nil
}

// Peer tells who is at the other end of a Unix socket.
func Peer(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var got error
	if err := raw.Control(func(fd uintptr) {
		cred, got = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, got
}

func throughDir(dir, name string, do func(*net.UnixAddr) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return do(&net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)})
}
