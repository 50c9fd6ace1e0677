package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A command is not given its caller's input before it reads: a caller whose input is a loop's, or a terminal
// that it has no right to read from, keeps it if the command wants none. The kernel does not tell who waits
// for a pipe, so we look. A kernel that does not show what threads wait in (gVisor's) leaves nothing to look
// at: input is then passed on at once, since a command that waits for it would wait for ever.

// How often it is looked whether a command reads its input: often at first, when most programs begin to.
const (
	firstLook = time.Millisecond
	lastLook  = 40 * time.Millisecond
)

// awaitReader returns when something in the command's group waits for its input, or the command is over.
func (c *command) awaitReader(over <-chan struct{}) {
	if _, err := os.Stat("/proc/self/syscall"); err != nil {
		return
	}
	pipe, err := pipeID(int(c.input.Fd()))
	group, ok := c.group.(populated)
	if err != nil || !ok {
		return
	}
	for pause := firstLook; ; pause = min(pause*3/2, lastLook) {
		if pids, err := group.members(); err != nil || someoneReads(pids, pipe) {
			return
		}
		select {
		case <-over:
			return
		case <-time.After(pause):
		}
	}
}

// pipeID is how /proc shows a pipe.
func pipeID(fd int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("pipe:[%d]", st.Ino), nil
}

// someoneReads tells whether a process that has the pipe open waits in a call that may be about it.
func someoneReads(pids []int, pipe string) bool {
	for _, pid := range pids {
		proc := "/proc/" + strconv.Itoa(pid)
		held := descriptors(proc, pipe)
		if len(held) == 0 {
			continue
		}
		tasks, err := os.ReadDir(proc + "/task")
		if err != nil {
			continue
		}
		for _, task := range tasks {
			if call, err := os.ReadFile(proc + "/task/" + task.Name() + "/syscall"); err == nil &&
				waitsForInput(string(call), held) {
				return true
			}
		}
	}
	return false
}

// descriptors are the numbers by which a process has a pipe open.
func descriptors(proc, pipe string) map[uint64]bool {
	entries, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return nil
	}
	var held map[uint64]bool
	for _, e := range entries {
		if target, err := os.Readlink(proc + "/fd/" + e.Name()); err != nil || target != pipe {
			continue
		}
		if n, err := strconv.ParseUint(e.Name(), 10, 32); err == nil {
			if held == nil {
				held = map[uint64]bool{}
			}
			held[n] = true
		}
	}
	return held
}

// waitsForInput reads a line of /proc/PID/syscall: the number of the call that a thread is in, and its
// arguments. Calls that wait for several files at once may be about any.
func waitsForInput(line string, held map[uint64]bool) bool {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return false // It runs, or is not in a call.
	}
	number, err := strconv.Atoi(fields[0])
	if err != nil {
		return false
	}
	for _, call := range waitingCalls() {
		if call == number {
			return true
		}
	}
	first, err := strconv.ParseUint(strings.TrimPrefix(fields[1], "0x"), 16, 64)
	if err != nil || !held[first] {
		return false
	}
	switch number {
	case unix.SYS_READ, unix.SYS_READV, unix.SYS_SPLICE, unix.SYS_TEE:
		return true
	}
	return false
}
