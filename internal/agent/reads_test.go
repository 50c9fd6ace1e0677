package agent

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhoWaitsForInput(t *testing.T) {
	held := map[uint64]bool{0: true}
	for line, want := range map[string]bool{
		"running":    false,
		"-1 0x0 0x0": false,
		"":           false,
		fmt.Sprintf("%d 0x0 0x7ffe 0x1000", unix.SYS_READ):          true,
		fmt.Sprintf("%d 0x5 0x7ffe 0x1000", unix.SYS_READ):          false,
		fmt.Sprintf("%d 0x0 0x7ffe 0x1000", unix.SYS_WRITE):         false,
		fmt.Sprintf("%d 0x7ffe 0x1 0xffffffff", unix.SYS_PPOLL):     true,
		fmt.Sprintf("%d 0x0 0x0 0x7ffe 0x0", unix.SYS_NANOSLEEP):    false,
		fmt.Sprintf("%d 0xffffffff 0x7ffe 0x0 0x0", unix.SYS_WAIT4): false,
	} {
		if got := waitsForInput(line, held); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
