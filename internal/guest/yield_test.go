package guest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// TestStepsAside has a process stand still while others are at work, and go on for a turn, and for good in
// the end, also if it stood still then.
func TestStepsAside(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	until := func(stopped bool) {
		for {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(stat), ") T ") == stopped {
				return
			}
		}
	}
	var others atomic.Bool
	end := stepAside(cmd.Process.Pid, others.Load)
	others.Store(true)
	until(true)
	until(false) // its turn
	until(true)
	others.Store(false)
	until(false)
	others.Store(true)
	until(true)
	end()
	until(false)
}
