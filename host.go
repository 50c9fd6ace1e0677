package pyro

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What of the host a place stands for. Guests idle most of the time, and share their template's memory.
const (
	placesPerProcessor = 8
	memoryShare        = 4 // a quarter of the memory is left to the host
)

// places is how many VMs memory and processors hold, at least [DefaultMaxActiveVMs].
func places(memoryMiB, processors int) int {
	byMemory := memoryMiB * (memoryShare - 1) / memoryShare / DefaultMemMiB
	return max(DefaultMaxActiveVMs, min(byMemory, processors*placesPerProcessor))
}

// hostPlaces is how many VMs this host holds.
func hostPlaces() int {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return DefaultMaxActiveVMs
	}
	mib := int(info.Totalram * uint64(info.Unit) >> 20)
	if limit, ok := memoryLimit(); ok {
		mib = min(mib, limit)
	}
	return places(mib, runtime.GOMAXPROCS(0)) // It knows of a container's share of the processors.
}

// memoryLimit is what the container that we are in may have, in MiB, if it has a limit.
func memoryLimit() (mib int, limited bool) {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile("/sys/fs/cgroup/" + name)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return int(n >> 20), err == nil && n > 0
	}
	return 0, false
}
