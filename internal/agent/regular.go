package agent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// errNotRegular is in the chain of the error about a FIFO, a device or a directory where a file is to be.
var errNotRegular = errors.New("it is not a regular file")

// openRegular opens a file of the guest's for reading. Opening never waits, as it would for a FIFO's other
// end, and what is not a regular file is not read: a read of it might never end.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ENXIO) {
		// It is a socket, or a device that nobody drives.
		return nil, fmt.Errorf("cannot read %q: %w", path, errNotRegular)
	}
	if err != nil {
		return nil, err
	}
	return onlyRegular(f)
}

// onlyRegular gives the open file, or closes it if it is not regular.
func onlyRegular(f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("cannot read %q: %w", f.Name(), errNotRegular)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
