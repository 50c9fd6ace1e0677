//go:build soak

// Package soak runs many VMs through one engine and looks for what they leave. It takes minutes: make soak.
package soak

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/test/built"
)

const environment = "debian:12"

// leftovers is what must be the same before and after.
type leftovers struct {
	processes, directories, files, descriptors, goroutines int
	residentKiB                                            int
}

func TestNothingIsLeft(t *testing.T) {
	binary := built.Program()
	state := t.TempDir()
	p, err := pyro.New(pyro.WithStateDir(state), pyro.WithCommand(binary), pyro.WithMaxActiveVMs(8))
	if err != nil {
		t.Fatal(err)
	}
	cache := p.Options().CacheDir
	if _, err := p.WarmEnvironment(t.Context(),
		pyro.WarmEnvironmentRequest{Environment: environment}); err != nil {
		t.Fatal(err)
	}
	once := func() {
		r, err := p.RunInVM(t.Context(), pyro.RunInVMRequest{Shape: pyro.Shape{Environment: environment},
			CommandLine: pyro.CommandLine{Argv: []string{"/bin/echo", "here"}}})
		if err != nil || r.Stdout != "here\n" {
			t.Errorf("a run failed: %v, exit status %d, %q", err, r.ExitCode, r.Stdout)
		}
	}
	for range 10 { // what is allocated once is not a leak
		once()
	}
	before := look(t, state, cache)
	began := time.Now()
	for range 200 {
		once()
	}
	compare(t, "200 in a row", before, look(t, state, cache), time.Since(began))
	began = time.Now()
	for range 4 {
		var work sync.WaitGroup
		turns := make(chan struct{}, 50)
		for range 50 {
			turns <- struct{}{}
		}
		close(turns)
		for range 8 {
			work.Go(func() {
				for range turns {
					once()
				}
			})
		}
		work.Wait()
	}
	compare(t, "4 times 50 on 8 threads", before, look(t, state, cache), time.Since(began))
}

// growth is how much larger the process may be after hundreds of runs: an allocator's slack, and no leak.
const growth = 16 << 10 // KiB

func compare(t *testing.T, what string, before, after leftovers, took time.Duration) {
	t.Helper()
	t.Logf("%s: %s; before %+v; after %+v", what, took.Round(time.Second), before, after)
	if after.residentKiB > before.residentKiB+growth {
		t.Errorf("%s: the process grew from %d to %d KiB", what, before.residentKiB, after.residentKiB)
	}
	before.residentKiB, after.residentKiB = 0, 0
	if before != after {
		t.Errorf("%s left something: before %+v, after %+v", what, before, after)
	}
}

// look counts, once what ends by itself has ended: a supervisor outlives its client's call for a moment.
func look(t *testing.T, state, cache string) leftovers {
	t.Helper()
	var l leftovers
	for range 100 {
		runtime.GC()
		l = leftovers{
			processes:   processes(t, state),
			directories: entries(t, filepath.Join(state, "vms")),
			files:       files(t, cache),
			descriptors: entries(t, "/proc/self/fd"),
			goroutines:  runtime.NumGoroutine(),
			residentKiB: resident(t),
		}
		if l.processes == 0 && l.directories <= 1 { // the gate's file
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return l
}

// processes counts those that have the state directory among their words.
func processes(t *testing.T, state string) (n int) {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if words, err := os.ReadFile(path); err == nil && bytes.Contains(words, []byte(state)) {
			n++
		}
	}
	return n
}

func entries(t *testing.T, dir string) int {
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func files(t *testing.T, dir string) (n int) {
	err := filepath.WalkDir(dir, func(string, fs.DirEntry, error) error {
		n++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func resident(t *testing.T) int {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n := 0
			for _, c := range strings.TrimSpace(kib) {
				if c < '0' || c > '9' {
					break
				}
				n = n*10 + int(c-'0')
			}
			return n
		}
	}
	t.Fatal("/proc/self/status has no VmRSS")
	return 0
}
