package qemu

import (
	"fmt"
	"time"
)

// clockSample is how long the processor's clock is compared with the host's at least: to about 10 millionths.
// A comparison of more than clockStale may have slept with the host.
const (
	clockSample = 5 * time.Millisecond
	clockStale  = time.Second
)

// readTSC reads the processor's time stamp counter.
func readTSC() uint64

// reading is what both clocks said at one moment.
type reading struct {
	host      time.Time
	processor uint64
}

func readClocks() reading { return reading{time.Now(), readTSC()} }

// cmdline tells a guest under TCG how fast its processor's clock goes: as fast as the host's has gone since
// this reading, which is best taken long before. Left alone, the kernel measures it against the interval
// timer. On a busy host that fails, and the kernel then hangs in calibrate_delay: it waits for a tick of that
// timer, whose interrupt it has not connected, since microvm's ACPI says that the hardware is without legacy
// devices.
func (r reading) cmdline() string {
	if time.Since(r.host) > clockStale {
		r = readClocks()
	}
	time.Sleep(clockSample - time.Since(r.host))
	elapsed, last := time.Since(r.host), readTSC()
	return fmt.Sprintf("tsc_early_khz=%d", uint64(float64(last-r.processor)/elapsed.Seconds()/1000+0.5))
}
