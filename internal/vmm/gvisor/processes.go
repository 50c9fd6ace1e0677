package gvisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// family is a process, its children and their children, among which are all that runsc is made of.
func family(pid int) []int {
	all := []int{pid}
	last := all
	for range 2 {
		var next []int
		for _, pid := range last {
			lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
			for _, path := range lists {
				list, _ := os.ReadFile(path)
				for word := range strings.FieldsSeq(string(list)) {
					if child, err := strconv.Atoi(word); err == nil {
						next = append(next, child)
					}
				}
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// isSentry tells whether a process is a guest's kernel, by the name that runsc gives it.
func isSentry(pid int) bool {
	words, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.HasPrefix(words, []byte("runsc-sandbox\x00"))
}

// dying tells whether a process was sent the signal that nothing survives: that stays pending (ShdPnd in
// proc(5)'s /proc/PID/status) for as long as there is the process.
func dying(pid int) bool {
	const killed = 1 << (unix.SIGKILL - 1)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(status, []byte("\nShdPnd:\t"))
	pending, _, _ := bytes.Cut(rest, []byte("\n"))
	signals, err := strconv.ParseUint(string(pending), 16, 64)
	return err == nil && signals&killed != 0
}
