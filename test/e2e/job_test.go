package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/test/ended"
)

// TestEverySignalled ends a run as a batch system or systemd does: by a signal to each of its processes,
// QEMU's or gVisor's first. The command hears of it, has its grace, and nothing is left; SIGKILL after it
// leaves no process.
func TestEverySignalled(t *testing.T) {
	installed(t)
	t.Run("polite", func(t *testing.T) {
		r := startRun(t, `trap 'sleep 0.3; echo told; exit 3' TERM; echo begun; while :; do sleep 0.1; done`)
		all := family(t, r.cmd.Process.Pid)
		if len(all) < 3 {
			t.Fatalf("the run has %d processes", len(all))
		}
		signalAll(all, syscall.SIGTERM)
		rest, err := io.ReadAll(r.out)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.cmd.Wait()
		if got := string(rest); strings.Count(got, "told\n") != 1 {
			t.Errorf("the command said %q", got)
		}
		if got := r.cmd.ProcessState.ExitCode(); got != 143 {
			t.Errorf("exit status %d: %s", got, r.stderr.String())
		}
		for _, pid := range all {
			ended.Wait(t, pid, 20*time.Second)
		}
		if left, _ := filepath.Glob(r.state + "/vms/run-*"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	t.Run("deaf", func(t *testing.T) {
		r := startRun(t, `trap '' TERM; echo begun; while :; do sleep 0.1; done`)
		all := family(t, r.cmd.Process.Pid)
		signalAll(all, syscall.SIGTERM)
		signalAll(all, syscall.SIGKILL)
		_ = r.cmd.Wait()
		for _, pid := range all {
			ended.Wait(t, pid, 20*time.Second)
		}
		sweep := exec.CommandContext(t.Context(), "pyro", "run", "debian:12", "--", "true")
		sweep.Env = r.cmd.Env
		if out, err := sweep.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if left, _ := filepath.Glob(r.state + "/vms/run-*"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestSupervisorSignalled signals the VM's own processes alone: what the command answers is no result of the
// run.
func TestSupervisorSignalled(t *testing.T) {
	installed(t)
	r := startRun(t, `trap 'echo told; exit 0' TERM; echo begun; while :; do sleep 0.1; done`)
	all := family(t, r.cmd.Process.Pid)
	signalAll(slices.DeleteFunc(all, func(pid int) bool { return pid == r.cmd.Process.Pid }), syscall.SIGTERM)
	rest, err := io.ReadAll(r.out)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait()
	if r.cmd.ProcessState.ExitCode() == 0 || !strings.Contains(r.stderr.String(), "guest was stopped") {
		t.Errorf("exit status %d: %s", r.cmd.ProcessState.ExitCode(), r.stderr.String())
	}
	if string(rest) != "told\n" {
		t.Errorf("the command said %q", rest)
	}
}

// aRun is a pyro whose command has begun.
type aRun struct {
	cmd    *exec.Cmd
	out    io.Reader
	stderr *bytes.Buffer
	state  string
}

func startRun(t *testing.T, script string) aRun {
	t.Helper()
	r := aRun{stderr: &bytes.Buffer{}, state: t.TempDir()}
	r.cmd = exec.CommandContext(t.Context(), "pyro", "run", "debian:12", "--grace-seconds", "30",
		"--timeout-seconds", "300", "--", "sh", "-c", script)
	r.cmd.Env = append(os.Environ(), "PYRO_STATE_DIR="+r.state, "PYRO_CACHE_DIR="+cacheDir(t))
	r.cmd.Stderr = r.stderr
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r.out = out
	if _, err := io.ReadFull(out, make([]byte, len("begun\n"))); err != nil {
		t.Fatalf("no output: %v %s", err, r.stderr.String())
	}
	return r
}

// family gives a process and all below it, the last first.
func family(t *testing.T, pid int) (all []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(children)) {
			var child int
			if _, err := fmt.Sscan(word, &child); err != nil {
				t.Fatal(err)
			}
			all = append(all, family(t, child)...)
		}
	}
	return append(all, pid)
}

func signalAll(pids []int, number syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, number) // It may have ended with one before it.
	}
}
