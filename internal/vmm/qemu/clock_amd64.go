package qemu

import (
	"fmt"
	"time"
)

// clockSample is how long the processor's clock is compared with the host's: to about 5 millionths.
const clockSample = 10 * time.Millisecond

// readTSC reads the processor's time stamp counter.
func readTSC() uint64

// clockCmdline tells a guest under TCG how fast its processor's clock goes: as fast as the host's. Left
// alone, the kernel measures it against the interval timer. On a busy host that fails, and the kernel then
// hangs in calibrate_delay: it waits for a tick of that timer, whose interrupt it has not connected, since
// microvm's ACPI says that the hardware is without legacy devices.
func clockCmdline() string {
	start, first := time.Now(), readTSC()
	time.Sleep(clockSample)
	elapsed, last := time.Since(start), readTSC()
	return fmt.Sprintf("tsc_early_khz=%d", uint64(float64(last-first)/elapsed.Seconds()/1000+0.5))
}
