package agent

import (
	"testing"
	"time"
)

// A clock is moved only if it is surely behind: a message that took long makes the host's look late, never
// early.
func TestBehind(t *testing.T) {
	const now = int64(1_700_000_000_000_000_000)
	for host, want := range map[int64]bool{
		0:                            false,
		now:                          false,
		now + int64(time.Second):     false,
		now + int64(2*time.Second):   true,
		now - int64(time.Hour):       false,
		now + int64(100*time.Second): true,
	} {
		if got := behind(now, host); got != want {
			t.Errorf("%v ahead: %t", time.Duration(host-now), got)
		}
	}
}
