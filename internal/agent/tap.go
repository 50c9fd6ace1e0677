package agent

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// maxFrame bounds an Ethernet frame, in bytes.
const maxFrame = 65535 + 14

// tap is a network device whose other end is a stream of frames, each behind its length: 4 bytes,
// big-endian.
type tap struct {
	frames *os.File
	device *os.File
}

// configure makes the device and gives it its addresses. It is done once: a boxed guest does not become
// another.
func (t *tap) configure(n link.Network) error {
	const name = "eth0"
	if t.device != nil {
		return errors.New("the network is set up already")
	}
	device, err := openTap(name)
	if err != nil {
		return err
	}
	t.device = device
	if err := setUpLink(name, n); err != nil {
		return fmt.Errorf("cannot set up the network device %q: %w", name, err)
	}
	go t.receive()
	go t.send()
	return nil
}

func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot make a network device: %w", err)
	}
	return os.NewFile(uintptr(fd), "tap"), nil
}

// receive hands the host's frames to the device, until the host ends.
func (t *tap) receive() {
	in := bufio.NewReaderSize(t.frames, 256<<10)
	frame := make([]byte, maxFrame)
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		size := binary.BigEndian.Uint32(head[:])
		if size > maxFrame {
			return
		}
		if _, err := io.ReadFull(in, frame[:size]); err != nil {
			return
		}
		t.device.Write(frame[:size]) // One that the device does not take is lost, as on any network.
	}
}

// send hands the device's frames to the host.
func (t *tap) send() {
	frame := make([]byte, 4+maxFrame)
	for {
		n, err := t.device.Read(frame[4:])
		if err != nil {
			return
		}
		binary.BigEndian.PutUint32(frame, uint32(n))
		if _, err := t.frames.Write(frame[:4+n]); err != nil {
			return
		}
	}
}
