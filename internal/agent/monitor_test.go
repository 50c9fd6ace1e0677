package agent

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A thread that the monitor has started has its slack, which commands would inherit.
func TestPromptly(t *testing.T) {
	runtime.LockOSThread() // It is thrown away with the test.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 10*usualSlack, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	done := promptly()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	done()
	if err != nil || slack != usualSlack {
		t.Errorf("the slack is %d ns, %v", slack, err)
	}
}
