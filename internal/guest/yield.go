package guest

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// yield gives this process, and the VMM that it starts, only the processor time and the disk that nobody else
// wants. If the kernel refuses it nothing is lost but the others' time.
func yield() {
	const (
		idle         = 5 // SCHED_IDLE
		ofProcess    = 1 // IOPRIO_WHO_PROCESS
		idlePriority = 3 << 13
	)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		_ = unix.SchedSetAttr(id, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: idle}, 0)
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ofProcess, uintptr(id), idlePriority)
	}
}
