package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro"
)

// selfPortrait is a program that prints all by which a machine could be taken for another.
const selfPortrait = `
import json, os, random, secrets, time, uuid
read = lambda path: open(path).read().strip()
stat = {line.split()[0]: line.split()[1] for line in open("/proc/stat")}
started = int(read("/proc/self/stat").rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
print(json.dumps({
    "differ": {
        "urandom": open("/dev/urandom", "rb", buffering=0).read(16).hex(),
        "getrandom": os.getrandom(16).hex(),
        "kernel uuid": read("/proc/sys/kernel/random/uuid"),
        "uuid4": str(uuid.uuid4()),
        "secrets": secrets.token_hex(16),
        "random": str(random.random()),
        "boot id": read("/proc/sys/kernel/random/boot_id"),
        "machine id": read("/etc/machine-id"),
        "host name": os.uname().nodename,
        "/etc/hostname": read("/etc/hostname"),
    },
    "date": time.time(),
    "started": int(stat["btime"]) + started,
}))`

// Clones of one template share nothing by which they could be taken for each other, and know what time it is.
// Nor do guests in gVisor, which are started without one.
func TestEachCloneIsItsOwnMachine(t *testing.T) {
	installed(t)
	const clones, atOnce = 50, 4
	p, err := pyro.New(pyro.WithCacheDir(cacheDir(t)), pyro.WithStateDir(t.TempDir()),
		pyro.WithCommand("pyro"), pyro.WithMaxActiveVMs(atOnce))
	if err != nil {
		t.Fatal(err)
	}
	if p.Options().Isolation == "vm" {
		if _, err := p.WarmEnvironment(t.Context(),
			pyro.WarmEnvironmentRequest{Environment: "debian:12"}); err != nil {
			t.Fatal(err)
		}
	}
	type portrait struct {
		Differ        map[string]string
		Date, Started float64
	}
	var mu sync.Mutex
	seen := map[string]map[string]bool{}
	var work sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for range clones {
		turn <- struct{}{}
		work.Go(func() {
			defer func() { <-turn }()
			before := time.Now()
			r, err := p.RunInVM(t.Context(), pyro.RunInVMRequest{Shape: pyro.Shape{Environment: "debian:12"},
				CommandLine: pyro.CommandLine{Argv: []string{"python3", "-I", "-S", "-c", selfPortrait}}})
			after := time.Now()
			if err != nil || r.ExitCode != 0 {
				t.Errorf("a clone failed: %v %s", err, r.Stderr)
				return
			}
			var got portrait
			if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil {
				t.Error(err)
				return
			}
			// Clock ticks are hundredths, and the kernel gives the time of its boot in whole seconds.
			const slack = 1.1
			for what, at := range map[string]float64{"date": got.Date, "a process's start": got.Started} {
				if at < seconds(before)-slack || at > seconds(after)+slack {
					t.Errorf("%s is %.1f s off", what, math.Max(seconds(before)-at, at-seconds(after)))
				}
			}
			if name := got.Differ["host name"]; name != r.VMID || got.Differ["/etc/hostname"] != name {
				t.Errorf("%s calls itself %q and %q", r.VMID, name, got.Differ["/etc/hostname"])
			}
			mu.Lock()
			defer mu.Unlock()
			for what, value := range got.Differ {
				if seen[what] == nil {
					seen[what] = map[string]bool{}
				}
				seen[what][value] = true
			}
		})
	}
	work.Wait()
	if len(seen) != 10 {
		t.Fatalf("clones told %d things of themselves, not 10", len(seen))
	}
	var shared []string
	for what, values := range seen {
		if len(values) != clones {
			shared = append(shared, fmt.Sprintf("%s has %d values in %d clones", what, len(values), clones))
		}
	}
	if len(shared) > 0 {
		t.Error(strings.Join(shared, "; "))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
