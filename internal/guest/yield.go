package guest

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// How a VMM shares the time with those whom it steps aside for: a fifth of it, so that they lose a tenth of
// theirs at most even if two on one processor get half each. look is how soon it sees that they are there.
const (
	look  = 5 * time.Millisecond
	aside = 200 * time.Millisecond
	turn  = 50 * time.Millisecond
)

// stepAside has a VMM that nobody waits for stand still most of the time while others are at work. The idle
// class leaves them the processor, but not its caches and the memory. The function that it gives ends that.
func stepAside(pid int, others func() bool) (end func()) {
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	wait := func(d time.Duration) bool {
		select {
		case <-stop:
			return false
		case <-time.After(d):
			return true
		}
	}
	go func() {
		defer close(stopped)
		defer unix.Close(handle)
		for wait(look) {
			if !others() {
				continue
			}
			if unix.PidfdSendSignal(handle, unix.SIGSTOP, nil, 0) != nil {
				return
			}
			for begun := time.Now(); time.Since(begun) < aside && others() && wait(look); {
			}
			if unix.PidfdSendSignal(handle, unix.SIGCONT, nil, 0) != nil || !wait(turn) {
				return
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

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
