// Package ended waits for the end of processes that a test looks after.
package ended

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Wait waits for the end of a process that need not be a child, for limit at most.
func Wait(t *testing.T, pid int, limit time.Duration) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}},
			int(limit.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			t.Errorf("process %d lives on: %v", pid, err)
		}
		return
	}
}
