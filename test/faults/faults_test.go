//go:build faults

package faults

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro"
)

// stopVariable has the test binary be a caller of StopVM, which the command line does not have.
const stopVariable = "PYRO_FAULTS_STOP"

func TestMain(m *testing.M) {
	if id := os.Getenv(stopVariable); id != "" {
		p, err := pyro.New(pyro.WithCommand(binary()))
		if err == nil {
			_, err = p.StopVM(context.Background(), pyro.VMRequest{VMID: id})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A moment brings a VM to where it is hit, gives the caller that is at work there, and checks afterwards what
// must be true of the VM.
type moment struct {
	name   string
	delays []time.Duration // into the caller's work, where nothing shows how far it is
	begin  func(w world) (caller *exec.Cmd, after func())
}

func moments() []moment {
	spread := []time.Duration{0, 30 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond}
	return []moment{
		{"create", spread, func(w world) (*exec.Cmd, func()) {
			return w.start("-q", "task", "create", environment), func() { w.deleteAll() }
		}},
		{"seeding", nil, func(w world) (*exec.Cmd, func()) {
			caller := w.start("-q", "task", "create", environment, "--source-path", w.largeTar())
			w.until("a seed on its way", func() bool { return read(caller.Process.Pid) > 8<<20 })
			return caller, func() { w.deleteAll() }
		}},
		{"exec", nil, func(w world) (*exec.Cmd, func()) {
			id := w.task()
			caller := w.command("task", "exec", id, "--", "sh", "-c", "echo begun; sleep 300")
			out, err := caller.StdoutPipe()
			if err == nil {
				err = caller.Start()
			}
			if err == nil {
				_, err = io.ReadFull(out, make([]byte, len("begun\n")))
			}
			if err != nil {
				w.Fatal(err)
			}
			return caller, func() { w.keeps(id); w.must("task", "delete", id) }
		}},
		{"taking over", spread, func(w world) (*exec.Cmd, func()) {
			id := w.task()
			w.kill("all", nil)
			w.until("the end of the supervisor", func() bool { return len(w.processes()["supervisor"]) == 0 })
			return w.start("task", "exec", id, "--", "true"), func() {
				w.keeps(id)
				w.must("task", "delete", id)
			}
		}},
		{"idle", nil, func(w world) (*exec.Cmd, func()) {
			id := w.task()
			return nil, func() { w.keeps(id); w.must("task", "delete", id) }
		}},
		{"stop", spread, func(w world) (*exec.Cmd, func()) { return w.stopping() }},
		{"delete", spread[:3], func(w world) (*exec.Cmd, func()) {
			id := w.task()
			return w.start("task", "delete", id), func() { w.deleteAll() }
		}},
	}
}

// TestKills is the table: each moment, each victim.
func TestKills(t *testing.T) { kills(t, moments()) }

func kills(t *testing.T, all []moment) {
	cells, passed := 0, 0
	// No kill is taken for a fault of the checkpoint that a guest is started from.
	before := newWorld(t).checkpoints()
	defer func() {
		if after := newWorld(t).checkpoints(); len(after) < len(before) {
			t.Errorf("of the checkpoints %q there are left %q", before, after)
		}
	}()
	for _, m := range all {
		delays := m.delays
		if delays == nil {
			delays = []time.Duration{0}
		}
		for _, victim := range append([]string{"caller", "supervisor", "all"}, monitors()...) {
			if m.name == "idle" && victim == "caller" {
				continue // there is none
			}
			for _, delay := range delays {
				t.Run(fmt.Sprintf("%s/%s/%v", m.name, victim, delay), func(t *testing.T) {
					cells++
					w := newWorld(t)
					caller, after := m.begin(w)
					time.Sleep(delay)
					w.kill(victim, caller)
					if caller != nil {
						done := make(chan error, 1)
						go func() { done <- caller.Wait() }()
						select {
						case <-done:
						case <-time.After(patience):
							_ = caller.Process.Kill()
							t.Errorf("the caller does not hear of it: %s", caller.Stderr)
						}
					}
					after()
					w.empty()
					if !t.Failed() {
						passed++
					}
				})
			}
		}
	}
	t.Logf("%d cells, %d passed", cells, passed)
}

// checkpoints lists the checkpoints of VMMs that templates have.
func (w world) checkpoints() []string {
	w.Helper()
	if os.Getenv("PYRO_ISOLATION") == "gvisor" {
		return nil // It has no templates.
	}
	w.must("env", "warm", environment)
	cache := os.Getenv("PYRO_CACHE_DIR")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			w.Fatal(err)
		}
		cache = filepath.Join(dir, "pyro")
	}
	found, err := filepath.Glob(filepath.Join(cache, "templates", "*", "process"))
	if err != nil {
		w.Fatal(err)
	}
	return found
}

// start starts a caller that goes on by itself.
func (w world) start(words ...string) *exec.Cmd {
	w.Helper()
	cmd := w.command(words...)
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	return cmd
}

// stopping has a started VM stopped by a process of its own. Afterwards it starts, and runs its one command.
func (w world) stopping() (*exec.Cmd, func()) {
	w.Helper()
	p := w.engine()
	vm, err := p.CreateVM(w.Context(), pyro.CreateVMRequest{Shape: pyro.Shape{Environment: environment}})
	if err == nil {
		_, err = p.StartVM(w.Context(), pyro.VMRequest{VMID: vm.VMID})
	}
	if err != nil {
		w.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(w.env(), stopVariable+"="+vm.VMID)
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	return cmd, func() {
		var result pyro.ExecVMResult
		_, err := p.StartVM(w.Context(), pyro.VMRequest{VMID: vm.VMID})
		if err == nil {
			result, err = p.ExecVM(w.Context(),
				pyro.ExecVMRequest{VMID: vm.VMID, CommandLine: pyro.CommandLine{Argv: []string{"echo",
					"here"}}})
		}
		if err != nil || result.Stdout != "here\n" {
			w.Errorf("the VM is lost: %q %v", result.Stdout, err)
		}
	}
}

// largeTar is a seed that takes seconds.
func (w world) largeTar() string {
	w.Helper()
	dir := w.TempDir()
	path := filepath.Join(dir, "seed.tar")
	if out, err := exec.Command("sh", "-c",
		"head -c 400000000 /dev/zero >$0/zero && tar -C $0 -cf $0/seed.tar zero && rm $0/zero",
		dir).CombinedOutput(); err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	return path
}

// read is how much a process has read.
func read(pid int) (n int64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err == nil {
		_, _ = fmt.Sscanf(string(data), "rchar: %d", &n)
	}
	return n
}

// deleteAll deletes what there is, however it is.
func (w world) deleteAll() {
	w.Helper()
	dirs, _ := filepath.Glob(filepath.Join(w.state, "vms", "task-*"))
	for _, dir := range dirs {
		if out, err := w.pyro("task", "delete", filepath.Base(dir)); err != nil {
			if _, gone := os.Stat(dir); gone == nil {
				w.Errorf("it cannot be deleted: %s %v", out, err)
			}
		}
	}
}
