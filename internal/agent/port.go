package agent

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// port is a virtio port.
type port struct {
	*os.File
	raw syscall.RawConn
}

// openPort opens a virtio port by its name; the port's number is anybody's guess.
func openPort(name string) (io.ReadWriteCloser, error) {
	for range 200 {
		ports, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, path := range ports {
			if got, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(got)) != name {
				continue
			}
			f, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(path)), os.O_RDWR|syscall.O_NONBLOCK, 0)
			if err != nil {
				return nil, err
			}
			raw, err := f.SyscallConn()
			return port{f, raw}, err
		}
		time.Sleep(5 * time.Millisecond) // The host announces its ports while the agent boots.
	}
	return nil, fmt.Errorf("there is no virtio port %q", name)
}

// Read waits for the host. A port reads as ended while nobody is connected on the host's side, who may come
// back: the kernel wakes its readers then.
func (p port) Read(b []byte) (n int, err error) {
	waited := p.raw.Read(func(fd uintptr) bool {
		for {
			n, err = syscall.Read(int(fd), b)
			if err != syscall.EINTR {
				break
			}
		}
		return n > 0 || err != nil && err != syscall.EAGAIN
	})
	if waited != nil {
		return 0, waited
	}
	return max(n, 0), err
}
