package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Terminal is the parent's end of a command's terminal. What is written to it is typed.
type Terminal struct{ file *os.File }

// NewTerminal makes a terminal and gives the child's end of it, to be closed once the command is started.
// owner is who the command runs as.
func NewTerminal(rows, cols uint16, uid, gid int) (*Terminal, *os.File, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	t := &Terminal{os.NewFile(uintptr(fd), "terminal")}
	child, err := t.open(fd)
	if err == nil {
		err = t.Resize(rows, cols)
	}
	if err != nil {
		t.file.Close()
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	_ = child.Chown(uid, gid) // Without the right to, it is the command's already.
	return t, child, nil
}

// open gives the other end, whose line discipline knows that characters may be of several bytes.
func (t *Terminal) open(fd int) (*os.File, error) {
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	opened, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return nil, errno
	}
	peer := int(opened)
	if modes, err := unix.IoctlGetTermios(peer, unix.TCGETS); err == nil {
		modes.Iflag |= unix.IUTF8
		_ = unix.IoctlSetTermios(peer, unix.TCSETS, modes)
	}
	return os.NewFile(uintptr(peer), "terminal"), nil
}

// Write types.
func (t *Terminal) Write(p []byte) (int, error) { return t.file.Write(p) }

// Close hangs up.
func (t *Terminal) Close() error { return t.file.Close() }

// Resize tells the terminal's size to whoever is in front of it. A size of 0 is 24 by 80.
func (t *Terminal) Resize(rows, cols uint16) error {
	if rows == 0 {
		rows = 24
	}
	if cols == 0 {
		cols = 80
	}
	return t.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}

// Foreground is the process group in front of the terminal, 0 if there is none.
func (t *Terminal) Foreground() (group int) {
	_ = t.control(func(fd int) (err error) {
		group, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	return group
}

// EndInput types the character that ends a program's input, if the program reads lines. To one that reads
// keys it would only be a key.
func (t *Terminal) EndInput() error {
	var end []byte
	err := t.control(func(fd int) error {
		modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil && modes.Lflag&unix.ICANON != 0 {
			end = []byte{modes.Cc[unix.VEOF]}
		}
		return err
	})
	if err == nil && end != nil {
		_, err = t.file.Write(end)
	}
	return err
}

func (t *Terminal) control(do func(fd int) error) error {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}
