package qemu

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// startProcess starts a program as if it were QEMU, by itself, unconfined.
func startProcess(binary string, c command, console, log *os.File) (*process, error) {
	cmd := exec.Command(binary, c.args...)
	cmd.ExtraFiles = c.files
	// After the child has asked for the signal, the runtime lets it see whether its parent is still there.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	return start(cmd, console, log)
}

// run starts a shell script as if it were QEMU, and returns how it failed.
func run(t *testing.T, script string, log *os.File) error {
	t.Helper()
	p, err := startProcess("/bin/sh", command{args: []string{"-c", script}}, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	return p.failure()
}

func TestFailure(t *testing.T) {
	for script, want := range map[string]string{
		"exit 0": "",
		"echo 'qemu-system-x86_64: -disk x: Could not open it.' >&2; exit 1": "qemu ended with exit " +
			"status 1: -disk x: Could not open it",
		"exit 3": "qemu ended with exit status 3",
		"kill -9 $$": "qemu was killed from outside, perhaps by the host for " +
			"want of memory",
		"kill -6 $$":                            "qemu ended by signal 6 (aborted)",
		"kill -1 $$; kill -2 $$; kill -15 $$":   "", // They are for a whole job, and its parent answers them.
		`printf 'a\033[31mb\377\n' >&2; exit 1`: "qemu ended with exit status 1: a [31mb?",
	} {
		err := run(t, script, nil)
		if got := text(err); got != want {
			t.Errorf("%s gives %q, not %q", script, got, want)
		}
	}
	err := run(t, "echo 'qemu-system-x86_64: cannot set up guest memory '\"'pc.ram'\"': Cannot allocate "+
		"memory' >&2; exit 1", nil)
	if !errors.Is(err, vmm.ErrNoMemory) {
		t.Errorf("want of memory is %v", err)
	}
}

// TestDying kills a process that takes its time to end: there is memory to give back first.
func TestDying(t *testing.T) {
	for range 5 {
		p, err := startProcess("/bin/sh", command{args: []string{"-c",
			"x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo ready >&2; sleep 100"}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for p.tail.lastLine() != "ready" {
			time.Sleep(time.Millisecond)
		}
		if p.dying() {
			t.Error("a living process is dying")
		}
		if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if !p.dying() {
			t.Error("a killed process is not dying")
		}
		<-p.done
		if !p.dying() {
			t.Error("a process that was reaped is not dying")
		}
	}
}

func TestEnvironmentAndLog(t *testing.T) {
	t.Setenv("SECRET", "must not be seen")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t, "pwd >&2; env >&2; head -c 100000 /dev/zero | tr '\\0' x >&2", log); err != nil {
		t.Error(err)
	}
	said, _ := os.ReadFile(log.Name())
	if !strings.HasPrefix(string(said), "/\n") || strings.Contains(string(said), "SECRET") ||
		len(said) < 100_000 {
		t.Errorf("the log has %d bytes: %.200s", len(said), said)
	}
}

func TestTailIsBounded(t *testing.T) {
	var kept tail
	for range 10 {
		kept.Write([]byte(strings.Repeat("x", maxTail-1) + "\nlast"))
	}
	if len(kept.kept) != maxTail || kept.lastLine() != "last" {
		t.Errorf("%d bytes are kept, the last line is %.20q", len(kept.kept), kept.lastLine())
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
