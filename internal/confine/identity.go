package confine

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Nobody is who runs what root confines.
const Nobody = 65534

// Identity is who something confined runs as, in the host's numbers.
type Identity struct {
	UID, GID int
	Other    bool // than the caller
}

// Identify gives the caller, or nobody if the caller is root and has the means to become that.
func Identify() Identity {
	self := Identity{UID: os.Geteuid(), GID: os.Getegid()}
	header := CapabilityHeader()
	var have [2]unix.CapUserData
	if self.UID != 0 || unix.Capget(&header, &have[0]) != nil {
		return self
	}
	for _, need := range []int{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN} {
		if have[0].Effective&(1<<need) == 0 {
			return self
		}
	}
	if !mapped("/proc/self/uid_map", Nobody) || !mapped("/proc/self/gid_map", Nobody) {
		return self
	}
	return Identity{UID: Nobody, GID: Nobody, Other: true}
}

// CapabilityHeader is for the system calls about this thread's capabilities.
func CapabilityHeader() unix.CapUserHeader {
	return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
}

// mapped tells whether a user namespace knows a number, by its map: lines of first, first outside, count.
func mapped(path string, number int) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			continue
		}
		first, err1 := strconv.Atoi(fields[0])
		count, err2 := strconv.Atoi(fields[2])
		if errors.Join(err1, err2) == nil && first <= number && number-first < count {
			return true
		}
	}
	return false
}
