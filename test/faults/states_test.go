//go:build faults

package faults

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A guest that is stopped answers nothing: commands end at their limit, and deleting does not wait for it.
func TestGuestStopped(t *testing.T) {
	w := newWorld(t)
	id := w.task()
	w.freeze()
	began := time.Now()
	cmd := w.command("task", "exec", id, "--timeout-seconds", "1", "--grace-seconds", "0", "--", "true")
	_ = cmd.Run()
	if code, took := cmd.ProcessState.ExitCode(), time.Since(began); code != 124 || took > 3*time.Second {
		t.Errorf("exit status %d after %v: %s", code, took, cmd.Stderr)
	}
	if out := w.must("task", "status", id); !strings.Contains(out, "started") {
		t.Errorf("status says %s", out)
	}
	// A request that is longer than a window is bounded by the same limit while it is sent.
	x := strings.Repeat("x", 100<<10)
	long := w.command("task", "exec", id, "--timeout-seconds", "1", "--grace-seconds", "0", "--", "true",
		x, x, x, x)
	began = time.Now()
	_ = long.Run()
	if code, took := long.ProcessState.ExitCode(), time.Since(began); code != 124 || took > 3*time.Second {
		t.Errorf("a long request: exit status %d after %v: %s", code, took, long.Stderr)
	}
	began = time.Now()
	w.must("task", "delete", id)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("deleting took %v", took)
	}
	w.empty()
}

// freeze stops all that the guests are made of.
func (w world) freeze() {
	w.Helper()
	frozen := 0
	found := w.processes()
	for _, kind := range monitors() {
		for _, pid := range found[kind] {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				w.Fatal(err)
			}
			frozen++
		}
	}
	if frozen == 0 {
		w.Fatal("there is no guest to stop")
	}
}

// A guest that does not end a command and gives no sign of life is ended, and its record says why.
func TestWedgedGuestIsEnded(t *testing.T) {
	w := newWorld(t)
	id := w.task()
	w.freeze()
	_ = w.command("task", "exec", id, "--timeout-seconds", "1", "--grace-seconds", "0", "--", "true").Run()
	var status string
	w.until("the end of the guest", func() bool {
		status = w.must("task", "status", id)
		return strings.Contains(status, "stopped")
	})
	if !strings.Contains(status, "no sign of life") {
		t.Errorf("the record says %s", status)
	}
	// What a task is for: its files, in a new guest.
	if out := w.must("task", "exec", id, "--timeout-seconds", "60", "--", "echo", "alive"); out != "alive\n" {
		t.Errorf("after it: %q", out)
	}
	w.must("task", "delete", id)
	w.empty()
}

// Records that are cut short, of a newer version, or no records at all are no obstacle to deleting.
func TestDamagedRecords(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut short": func(b []byte) []byte { return b[:len(b)/2] },
		"empty":     func([]byte) []byte { return nil },
		"newer": func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"format": 1`), []byte(`"format": 99`), 1)
		},
	} {
		for _, alive := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				id := w.task()
				if !alive {
					w.kill("all", nil)
					w.until("the end of the supervisor", func() bool {
						return len(w.processes()["supervisor"]) == 0
					})
				}
				path := filepath.Join(w.state, "vms", id, "vm.json")
				record, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(path, damage(record), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.pyro("task", "list"); err != nil {
					t.Errorf("one bad record hides the others: %v", err)
				}
				if !alive {
					if _, err := w.pyro("task", "exec", id, "--", "true"); err == nil ||
						!strings.Contains(err.Error(), id) {
						t.Errorf("the damage is not told: %v", err)
					}
				}
				w.must("task", "delete", id)
				w.empty()
			})
		}
	}
}

// TestEightAtOnce has eight processes create a task each, with room for all, and with room for four.
func TestEightAtOnce(t *testing.T) {
	for limit, want := range map[string]int{"8": 8, "4": 4} {
		t.Run(limit, func(t *testing.T) {
			w := newWorld(t)
			var mu sync.Mutex
			made := 0
			var work sync.WaitGroup
			for range 8 {
				work.Go(func() {
					cmd := w.command("-q", "task", "create", environment, "--wait-seconds", "0")
					cmd.Env = append(cmd.Env, "PYRO_MAX_ACTIVE_VMS="+limit)
					err := cmd.Run()
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						made++
					} else if !strings.Contains(cmd.Stderr.(*bytes.Buffer).String(), "max_active_vms") {
						t.Errorf("%v: %s", err, cmd.Stderr)
					}
				})
			}
			work.Wait()
			if made != want {
				t.Errorf("%d of 8 were made, want %d", made, want)
			}
			w.deleteAll()
			w.empty()
		})
	}
}

// TestHostDiskFull gives the state directory a file system of 48 MiB, in a mount namespace that ends with the
// shell.
func TestHostDiskFull(t *testing.T) {
	w := newWorld(t)
	script := `
set -u
mount -t tmpfs -o size=48m,mode=700 none "$PYRO_STATE_DIR" || exit 70
id=$("$PYRO_BINARY" -q task create debian:12) || exit 71
"$PYRO_BINARY" task exec "$id" -- sh -c 'echo kept >kept' || exit 72
"$PYRO_BINARY" task exec "$id" -- sh -c 'dd if=/dev/urandom of=big bs=1M count=200; sync' && exit 73
"$PYRO_BINARY" task status "$id" || exit 74
"$PYRO_BINARY" task create debian:12 && exit 75
"$PYRO_BINARY" task delete "$id" || exit 76
[ -z "$(ls "$PYRO_STATE_DIR/vms")" ] || { ls -R "$PYRO_STATE_DIR"; exit 77; }
"$PYRO_BINARY" run debian:12 -- echo works again
`
	cmd := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c", script)
	cmd.Env = w.env()
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.HasSuffix(string(out), "works again\n") {
		t.Errorf("%v", err)
	}
	w.empty()
}
