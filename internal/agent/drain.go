package agent

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// drain passes a command's output on while the command lives. What a process that it leaves in the background
// writes afterwards goes nowhere, and harms that process as little as a terminal would.
type drain struct {
	from *os.File
	to   io.Writer
	done chan struct{}
	buf  []byte
}

func newDrain(from *os.File, to io.Writer) *drain {
	return &drain{from: from, to: to, done: make(chan struct{}), buf: make([]byte, 64<<10)}
}

// run passes on until the pipe ends, or finish says that the command has.
func (d *drain) run() {
	ended := d.pass()
	close(d.done)
	if !ended {
		d.from.SetReadDeadline(time.Time{})
		io.Copy(io.Discard, d.from)
	}
	d.from.Close()
}

// pass tells whether the pipe has ended.
func (d *drain) pass() bool {
	for {
		n, err := d.from.Read(d.buf)
		if n > 0 {
			if _, err := d.to.Write(d.buf[:n]); err != nil {
				return false // Nobody listens any more.
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return d.rest()
		}
		if err != nil {
			return true
		}
	}
}

// rest passes on what stands in the pipe already, and waits for no more.
func (d *drain) rest() (ended bool) {
	raw, err := d.from.SyscallConn()
	if err != nil {
		return false
	}
	for {
		n := 0
		if controlErr := raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), d.buf) }); controlErr != nil {
			return false
		}
		if err != nil || n <= 0 {
			return err == nil
		}
		if _, err := d.to.Write(d.buf[:n]); err != nil {
			return false
		}
	}
}

// finish is called when the command has ended. It returns when all that the command wrote has been passed on.
func (d *drain) finish() {
	d.from.SetReadDeadline(time.Now())
	<-d.done
}
