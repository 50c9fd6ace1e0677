package e2b

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// usage is a sample of what a sandbox uses. Sizes are in bytes.
type usage struct {
	Timestamp     time.Time `json:"timestamp"`
	TimestampUnix int64     `json:"timestampUnix"`
	CPUCount      int       `json:"cpuCount"`
	CPUUsedPct    float64   `json:"cpuUsedPct"`
	MemTotal      int64     `json:"memTotal"`
	MemUsed       int64     `json:"memUsed"`
	MemCache      int64     `json:"memCache"`
	DiskTotal     int64     `json:"diskTotal"`
	DiskUsed      int64     `json:"diskUsed"`
}

var errMetrics = errors.New("the sandbox's figures make no sense")

// parseMetrics reads MemTotal, MemAvailable and Cached, a line each; used and size of the disk; and the first
// line of /proc/stat twice.
func parseMetrics(text string) (usage, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 6 {
		return usage{}, errMetrics
	}
	var n [5]int64
	for i, word := range append(lines[:3:3], strings.Fields(lines[3])...) {
		value, err := strconv.ParseFloat(word, 64)
		if err != nil || i >= len(n) {
			return usage{}, errMetrics
		}
		n[i] = int64(value)
	}
	busyBefore, allBefore, err := ticks(lines[4])
	if err != nil {
		return usage{}, err
	}
	busy, all, err := ticks(lines[5])
	if err != nil {
		return usage{}, err
	}
	u := usage{
		MemTotal:  n[0],
		MemUsed:   n[0] - n[1],
		MemCache:  n[2],
		DiskUsed:  n[3],
		DiskTotal: n[4],
	}
	if all > allBefore {
		u.CPUUsedPct = 100 * float64(busy-busyBefore) / float64(all-allBefore)
	}
	return u, nil
}

// ticks reads the line of all processors in /proc/stat: user, nice, system, idle, iowait, …
func ticks(line string) (busy, all int64, err error) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[0] != "cpu" {
		return 0, 0, errMetrics
	}
	for i, field := range fields[1:] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, errMetrics
		}
		all += n
		if i != 3 && i != 4 {
			busy += n
		}
	}
	return busy, all, nil
}
