//go:build faults

// Package faults ends callers, supervisors and QEMU, or the processes of gVisor, at every moment of a VM's
// life, on real guests, and looks for what they leave and for what is lost. It takes minutes: make faults.
package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/test/built"
)

const environment = "debian:12"

// patience bounds whatever has to come about by itself.
const patience = 20 * time.Second

// world is a state directory of its own, and what lives in it.
type world struct {
	*testing.T
	state string
	met   map[process]bool // all that ran when something was killed
}

// process is one that no other is taken for: a number is given again.
type process struct {
	pid     int
	started string
}

func newWorld(t *testing.T) world { return world{t, t.TempDir(), map[process]bool{}} }

// monitors are the kinds of processes that a guest is made of. Guests in gVisor have no gofer: their images
// are mapped.
func monitors() []string {
	if os.Getenv("PYRO_ISOLATION") == "gvisor" {
		return []string{"runsc", "sandbox"}
	}
	return []string{"qemu"}
}

func (w world) env() []string {
	return append(os.Environ(), "PYRO_STATE_DIR="+w.state, "PYRO_MAX_ACTIVE_VMS=16", "PYRO_BINARY="+binary())
}

func binary() string {
	return built.Program()
}

func (w world) engine() *pyro.Pyro {
	p, err := pyro.New(pyro.WithStateDir(w.state), pyro.WithCommand(binary()), pyro.WithMaxActiveVMs(16))
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// command is a caller that can be ended.
func (w world) command(words ...string) *exec.Cmd {
	cmd := exec.Command(binary(), words...)
	cmd.Env, cmd.Stderr = w.env(), &bytes.Buffer{}
	return cmd
}

// pyro runs a command to its end.
func (w world) pyro(words ...string) (stdout string, err error) {
	cmd := w.command(words...)
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("pyro %s: %w: %s", strings.Join(words, " "), err, cmd.Stderr)
	}
	return string(out), err
}

func (w world) must(words ...string) string {
	w.Helper()
	out, err := w.pyro(words...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// task makes a task with a file that a finished command wrote.
func (w world) task() string {
	w.Helper()
	var made struct {
		TaskID string `json:"task_id"`
	}
	if err := json.Unmarshal([]byte(w.must("-q", "task", "create", environment, "--json")),
		&made); err != nil {
		w.Fatal(err)
	}
	w.must("task", "exec", made.TaskID, "--", "sh", "-c", "echo kept >kept")
	return made.TaskID
}

// keeps wants the file of a task, whatever happened to it, and the record to tell of the command.
func (w world) keeps(id string) {
	w.Helper()
	out, err := w.pyro("task", "exec", id, "--", "cat", "kept")
	if err != nil || out != "kept\n" {
		w.Errorf("the workspace is lost: %q %v", out, err)
	}
	if log, err := w.pyro("task", "logs", id); err != nil || !strings.Contains(log, "echo kept") {
		w.Errorf("the history is lost: %q %v", log, err)
	}
}

// until waits for a condition.
func (w world) until(what string, condition func() bool) bool {
	w.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Errorf("%s did not come about within %v", what, patience)
			return false
		}
	}
	return true
}

// processes gives those of this world by what they are, "supervisor" or one of the monitors.
func (w world) processes() map[string][]int {
	found := map[string][]int{}
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		words, err := os.ReadFile(path)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if kind := w.kind(pid, string(words)); kind != "" {
			found[kind] = append(found[kind], pid)
		}
	}
	return found
}

// kind says what a process with these words is.
func (w world) kind(pid int, words string) string {
	switch program, _, _ := strings.Cut(words, "\x00"); {
	case strings.Contains(words, "\x00supervise\x00"+w.state):
		return "supervisor"
	case program == "runsc-sandbox" && strings.Contains(words, "="+w.state):
		return "sandbox"
	case program == "runsc-gofer" && strings.Contains(words, "="+w.state):
		return "gofer"
	case strings.HasSuffix(program, "pyro-runsc") && strings.Contains(words, w.state):
		return "runsc"
	}
	// QEMU has nothing of the state directory among its words: it is its supervisor's child, or has an open
	// file there.
	name, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if bytes.HasPrefix(name, []byte("qemu-system")) && w.holds(pid) {
		return "qemu"
	}
	return ""
}

// meet remembers a process and all that descend from it.
func (w world) meet(pid int) {
	if started := startOf(pid); started != "" {
		w.met[process{pid, started}] = true
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range lists {
		list, _ := os.ReadFile(path)
		for word := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(word); err == nil {
				w.meet(child)
			}
		}
	}
}

// startOf is when a process was started, empty if it has ended.
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if err != nil || len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// left are the processes that were met and run still.
func (w world) left() (pids []int) {
	for p := range w.met {
		if startOf(p.pid) == p.started {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

func (w world) holds(pid int) bool {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, w.state) {
			return true
		}
	}
	return false
}

// kill ends a victim as the kernel's hunt for memory would.
func (w world) kill(victim string, caller *exec.Cmd) {
	found := w.processes()
	for _, pid := range found["supervisor"] {
		w.meet(pid)
	}
	if caller != nil && (victim == "caller" || victim == "all") {
		_ = caller.Process.Kill()
	}
	for _, kind := range append([]string{"supervisor"}, monitors()...) {
		for _, pid := range found[kind] {
			if victim == kind || victim == "all" {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// directories are the VMs'.
func (w world) directories() []string {
	dirs, _ := filepath.Glob(filepath.Join(w.state, "vms", "[a-z]*"))
	return dirs
}

// empty wants no VM, process or file of this world to be left, once pyro was asked to look for the dead.
func (w world) empty() {
	w.Helper()
	w.must("-q", "run", environment, "--", "true") // any creation sweeps, and has to work
	ok := w.until("the end of all processes and directories", func() bool {
		return len(w.directories()) == 0 && len(w.processes()) == 0 && len(w.left()) == 0
	})
	if !ok {
		w.Errorf("left: %v %v %v", w.directories(), w.processes(), w.left())
	}
	if left, _ := filepath.Glob(filepath.Join(w.state, "snapshots", "snap-*")); len(left) > 0 {
		w.Errorf("left of snapshots: %v", left)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil ||
		bytes.Contains(mounts, []byte(w.state)) {
		w.Errorf("a mount is left: %v", err)
	}
}
