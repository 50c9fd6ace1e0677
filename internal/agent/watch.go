package agent

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// watchEvery is how often the memory of commands is looked at, if the kernel counts it and does not bound
// it.
const watchEvery = 100 * time.Millisecond

// watch ends the command that has most whenever all of them together have more than they may. It does not
// return.
func (g *cgroups) watch() {
	most, err := count(g.dir + "/memory.max")
	if err != nil {
		return // There is no bound.
	}
	for range time.Tick(watchEvery) {
		if used, err := count(g.dir + "/memory.current"); err == nil && used > most {
			g.endLargest()
		}
	}
}

// endLargest ends the command that has most memory, be it one that lives on in the background.
func (g *cgroups) endLargest() {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return
	}
	largest, size := "", int64(-1)
	for _, e := range entries {
		if used, err := count(g.dir + "/" + e.Name() + "/memory.current"); err == nil && used > size {
			largest, size = e.Name(), used
		}
	}
	if largest == "" {
		return
	}
	g.mu.Lock()
	if g.over == nil {
		g.over = map[string]bool{}
	}
	g.over[g.dir+"/"+largest] = true
	g.mu.Unlock()
	// One that cannot be ended is tried again.
	_ = os.WriteFile(g.dir+"/"+largest+"/cgroup.kill", []byte("1"), 0o644)
}

// count reads a file that holds one number.
func count(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}
