package agent

import (
	"math"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// monitorSlack is how much later than it asks for the runtime's monitor may be woken, in nanoseconds: what it
// sleeps by itself when it has found nothing to do for a while.
const monitorSlack = "10000000"

// calmMonitor lets the kernel take its time with waking the thread with which Go's runtime looks after its
// others. It asks for 20 µs, again and again, and each time costs an emulator an interrupt and two changes of
// threads: a third of all changes of a guest's boot. That thread is the runtime's first. If it cannot be
// done, a guest is slower and nothing else.
func calmMonitor() {
	threads, _ := os.ReadDir("/proc/self/task")
	first := math.MaxInt
	for _, thread := range threads {
		if tid, err := strconv.Atoi(thread.Name()); err == nil && tid != os.Getpid() {
			first = min(first, tid)
		}
	}
	_ = os.WriteFile("/proc/"+strconv.Itoa(first)+"/timerslack_ns", []byte(monitorSlack), 0)
}

// usualSlack is what the kernel gives the first process, in nanoseconds.
const usualSlack = 50000

// promptly holds the goroutine on its thread, until what it gives is called, and has what this thread starts
// be woken as punctually as anything else: threads that the monitor has started have inherited its slack.
func promptly() (done func()) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, usualSlack, 0, 0, 0) // It is there in each Linux that we run on.
	return runtime.UnlockOSThread
}
