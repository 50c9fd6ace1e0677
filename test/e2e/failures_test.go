package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pyro-mcp/pyro"
)

// A host without QEMU, or with one that is too old, is told what to do.
func TestWithoutAUsableQEMU(t *testing.T) {
	installed(t)
	program, err := exec.LookPath("pyro")
	if err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	script := "#!/bin/sh\necho QEMU emulator version 6.2.0\n"
	if err := os.WriteFile(filepath.Join(old, "qemu-system-x86_64"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{t.TempDir(): "is not installed", old: "6.2"} {
		state := t.TempDir()
		cmd := exec.CommandContext(t.Context(), program, "run", "debian:12", "--", "true")
		cmd.Env = append(os.Environ(), "PATH="+path, "PYRO_STATE_DIR="+state, "PYRO_CACHE_DIR="+cacheDir(t),
			"PYRO_ISOLATION=vm")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 125 {
			t.Errorf("%v, want exit status 125", err)
		}
		if text := stderr.String(); !strings.Contains(text, want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%q, want one line with %q", text, want)
		}
		if left, err := filepath.Glob(filepath.Join(state, "vms", "run-*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
}

// A task outlives the death of its QEMU: it is stopped, says why, and goes on with all that was written.
func TestATaskOutlivesItsQEMU(t *testing.T) {
	p := engine(t)
	task, err := p.CreateTask(t.Context(),
		pyro.CreateTaskRequest{Shape: pyro.Shape{Environment: "debian:12"}})
	if err != nil {
		t.Fatal(err)
	}
	id := pyro.TaskRequest{TaskID: task.TaskID}
	defer p.DeleteTask(t.Context(), id)
	run := func(line string) pyro.ExecTaskResult {
		t.Helper()
		result, err := p.ExecTask(t.Context(), pyro.ExecTaskRequest{TaskID: task.TaskID,
			CommandLine: pyro.CommandLine{Command: line, TimeoutSeconds: new(90)}})
		if err := errors.Join(err, result.Err()); err != nil {
			t.Fatal(err)
		}
		return result
	}
	run("echo kept > file")
	if n := killMonitor(t, task.TaskID); n != 1 {
		t.Fatalf("%d monitors of the task, not 1", n)
	}
	for status := task; status.State != "stopped"; {
		if status, err = p.StatusTask(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	after := run("cat file")
	if after.Stdout != "kept\n" || after.Sequence != 2 {
		t.Fatalf("%q as command %d", after.Stdout, after.Sequence)
	}
	status, err := p.StatusTask(t.Context(), id)
	if err != nil || status.LastError == nil || !strings.Contains(*status.LastError, "killed from outside") {
		t.Fatalf("%+v, %v", status, err)
	}
}

// killMonitor kills the QEMU processes of a VM, by the name in their arguments, or gVisor's kernel, by its
// directory.
func killMonitor(t *testing.T, id string) (killed int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		words, err := os.ReadFile(file)
		boxed := bytes.Contains(words, []byte("\x00boot\x00")) &&
			bytes.Contains(words, []byte("/"+id+"/runsc-"))
		if err != nil || !boxed && !bytes.Contains(words, []byte("-name\x00"+id+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}
