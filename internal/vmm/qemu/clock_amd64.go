package qemu

import (
	"fmt"
	"time"
)

// clockSample is how long the processor's clock is compared with the host's: to about 5 millionths.
const clockSample = 10 * time.Millisecond

// readTSC reads the processor's time stamp counter.
func readTSC() uint64

// clockWords tell a guest under TCG how fast its processor's clock goes, which is the host's. Left alone, the
// kernel measures it against an emulated interval timer. On a busy host that fails, more often than not on
// some, and the kernel then waits for ever for an interrupt of that timer, which microvm does not deliver.
func clockWords() string {
	start, first := time.Now(), readTSC()
	time.Sleep(clockSample)
	elapsed, last := time.Since(start), readTSC()
	return fmt.Sprintf("tsc_early_khz=%d", uint64(float64(last-first)/elapsed.Seconds()/1000+0.5))
}
