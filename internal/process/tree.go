package process

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// EndTree kills all that descends from the process root, again and again until nothing is left or the time is
// over, and tells whether nothing is. Root itself lives; as a child subreaper it is what makes the tree
// complete. It rests on /proc being the one of this process's pid namespace.
func EndTree(root int, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		living := Descendants(root)
		if len(living) == 0 {
			return true
		}
		for _, pid := range living {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
}

// Descendants lists the living processes below root, parents first.
func Descendants(root int) []int {
	children := family(false)
	found := children[root]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// Children lists the processes whose parent is root, zombies too.
func Children(root int) []int { return family(true)[root] }

// family maps each process to its children.
func family(zombies bool) map[int][]int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, each := range entries {
		pid, err := strconv.Atoi(each.Name())
		if err != nil {
			continue
		}
		if parent, dead, ok := parentOf(pid); ok && (zombies || !dead) {
			children[parent] = append(children[parent], pid)
		}
	}
	return children
}

func parentOf(pid int) (parent int, dead, ok bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false, false
	}
	// The name in parentheses may hold anything, further parentheses too.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, false, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return parent, bytes.ContainsAny(fields[0], "ZX"), err == nil
}
