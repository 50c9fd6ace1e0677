package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// dialLimit bounds a connection to a server that is there and does not take it.
const dialLimit = 5 * time.Second

// Loopback is a connection to a server on this machine's loopback, in the hands of the runtime's poller.
// Package net would make a guest's agent half a megabyte larger.
type Loopback interface {
	io.ReadWriteCloser
	// CloseWrite says that nothing more is sent.
	CloseWrite() error
}

// DialLoopback connects to 127.0.0.1, or to ::1 if nobody listens there. A connection of datagrams carries
// each behind its length, in 16 bits, little-endian; whether somebody listens is not known before they come
// back.
func DialLoopback(port int, datagrams bool) (Loopback, error) {
	kind := unix.SOCK_STREAM
	if datagrams {
		kind = unix.SOCK_DGRAM
	}
	if datagrams && !listens(port) {
		f, err := connect(unix.AF_INET6, kind, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}})
		if err == nil {
			return &packets{stream: f}, nil
		}
	}
	f, err := connect(unix.AF_INET, kind, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil {
		var inner error
		f, inner = connect(unix.AF_INET6, kind, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}})
		if inner != nil {
			return nil, fmt.Errorf("nobody listens on port %d: %w", port, err)
		}
	}
	if datagrams {
		return &packets{stream: f}, nil
	}
	return f, nil
}

// listens tells whether somebody takes datagrams on 127.0.0.1: then the port cannot be had there.
func listens(port int) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) != nil
}

type stream struct{ *os.File }

// CloseWrite says that nothing more is sent.
func (s stream) CloseWrite() error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return errors.Join(err, failed)
}

func connect(family, kind int, to unix.Sockaddr) (stream, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return stream{}, err
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
		return stream{}, err
	}
	return stream{os.NewFile(uintptr(fd), "loopback")}, nil
}

// packets carries datagrams as a stream of them. One that nobody takes is lost, as datagrams are.
type packets struct {
	stream
	in  []byte // what is left of the last one that came
	out []byte // the beginning of one that is to go
}

const packetHeader = 2

func (c *packets) Read(p []byte) (int, error) {
	for len(c.in) == 0 {
		buffer := make([]byte, packetHeader+1<<16)
		n, err := c.stream.Read(buffer[packetHeader:])
		if errors.Is(err, unix.ECONNREFUSED) {
			continue
		}
		if err != nil && !(errors.Is(err, io.EOF) && n == 0) {
			return 0, err
		}
		binary.LittleEndian.PutUint16(buffer, uint16(n))
		c.in = buffer[:packetHeader+n]
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *packets) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	for len(c.out) >= packetHeader {
		end := packetHeader + int(binary.LittleEndian.Uint16(c.out))
		if len(c.out) < end {
			break
		}
		_, err := c.stream.Write(c.out[packetHeader:end])
		if err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return 0, err
		}
		c.out = c.out[end:]
	}
	return len(p), nil
}

// CloseWrite ends it: there is no half of a conversation in datagrams.
func (c *packets) CloseWrite() error { return c.Close() }
