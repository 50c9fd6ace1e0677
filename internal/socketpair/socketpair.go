// Package socketpair joins this process to a child.
package socketpair

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Files gives the ends of a socket pair, which no child inherits unless it is handed one. Kind is a type of
// socket, SOCK_STREAM for example, with SOCK_NONBLOCK if the ends shall not block. The name is that of both
// files.
func Files(name string, kind int) (parent, child *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair for %s: %w", name, err)
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}
