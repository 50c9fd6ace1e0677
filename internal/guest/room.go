package guest

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
)

// hostMemory is what a host has, in MiB, its swap included.
type hostMemory struct{ total, free int64 }

// readMemory reads /proc/meminfo's content.
func readMemory(meminfo string) hostMemory {
	var m hostMemory
	for line := range strings.Lines(meminfo) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "MemTotal:", "SwapTotal:":
			m.total += kib
		case "MemAvailable:", "SwapFree:":
			m.free += kib
		}
	}
	return hostMemory{m.total >> 10, m.free >> 10}
}

// roomFor refuses a guest that the host has no memory for, before it is found out in the middle of something.
func roomFor(mib, promised int) error {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil
	}
	return readMemory(string(data)).roomFor(int64(mib), int64(promised))
}

// roomFor says why a guest cannot have so much. Guests use what they are promised only by and by, so that
// what is free at this moment says little.
func (m hostMemory) roomFor(mib, promised int64) error {
	refuse := func(have int64, format string, values ...any) error {
		return &link.Error{
			Code:    link.CodeUnavailable,
			Cause:   link.CauseHostMemory,
			Message: fmt.Sprintf(format, values...),
			Facts:   link.Facts{HaveMiB: max(have, 0), WantMiB: mib},
		}
	}
	switch {
	case mib > m.free:
		return refuse(m.free, "the host has %d MiB of memory left, not the %d MiB that the guest is to have",
			m.free, mib)
	case mib+promised > m.total:
		return refuse(m.total-promised,
			"of the host's %d MiB of memory %d MiB are promised to guests that live, "+
				"which leaves less than the %d MiB that this one is to have", m.total, promised, mib)
	}
	return nil
}
