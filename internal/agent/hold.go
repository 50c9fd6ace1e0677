package agent

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// holdLimit bounds how long commands may take to stand still. One that waits for a disk cannot do so before
// that has answered, and then runs no further.
const holdLimit = 200 * time.Millisecond

// hold has all commands stand still, or go on. What is held does not notice but by the clock. In a kernel
// that cannot do it, gVisor's, they go on.
func (g *cgroups) hold(still bool) error {
	value := "0"
	if still {
		value = "1"
	}
	freezer, err := os.OpenFile(g.dir+"/cgroup.freeze", os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = freezer.WriteString(value)
	if err = errors.Join(err, freezer.Close()); err != nil || !still {
		return err
	}
	events, err := os.Open(g.dir + "/cgroup.events")
	if err != nil {
		return err
	}
	defer events.Close()
	for until := time.Now().Add(holdLimit); ; {
		text := make([]byte, 256)
		n, err := events.ReadAt(text, 0)
		if n == 0 && err != nil {
			return err
		}
		left := time.Until(until)
		if strings.Contains(string(text[:n]), "frozen 1") || left <= 0 {
			return nil
		}
		// The kernel tells of a change in the file.
		changed := []unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}
		if _, err := unix.Poll(changed, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return err
		}
	}
}
