//go:build faults

package faults

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro"
)

// snapshotMoments are those at which a task is kept, forked, rolled back and paused. Its disk has enough that
// each takes a while.
func snapshotMoments() []moment {
	spread := []time.Duration{0, 20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond,
		400 * time.Millisecond}
	return []moment{
		{"snapshot", spread, func(w world) (*exec.Cmd, func()) {
			id := w.large()
			return w.start("task", "snapshot", id), func() {
				w.keeps(id)
				w.isWhole(id, "new")
				w.usable()
				w.must("task", "delete", id)
			}
		}},
		{"fork", spread, func(w world) (*exec.Cmd, func()) {
			id := w.large()
			return w.start("task", "fork", id, "-n", "2"), func() {
				w.keeps(id)
				w.isWhole(id, "new")
				w.whole()
				w.deleteAll()
			}
		}},
		{"rollback", spread, func(w world) (*exec.Cmd, func()) {
			id := w.large()
			w.must("task", "snapshot", id, "--name", "before")
			w.must("task", "exec", id, "--", "sh", "-c", "echo newer >state")
			return w.start("task", "rollback", id, "before"), func() {
				// Whoever asked for it is gone, and it goes on: it ends the command that it meets.
				w.until("a command that no rollback ends", func() bool {
					_, err := w.pyro("task", "exec", id, "--", "true")
					return err == nil
				})
				w.keeps(id)
				w.isWhole(id, "new", "newer")
				w.usable()
				w.must("task", "delete", id)
			}
		}},
		{"pause", spread, func(w world) (*exec.Cmd, func()) {
			id := w.large()
			return w.start("task", "pause", id), func() {
				w.keeps(id)
				w.isWhole(id, "new")
				w.must("task", "delete", id)
			}
		}},
		{"resume", spread, func(w world) (*exec.Cmd, func()) {
			id := w.large()
			w.must("task", "pause", id)
			return w.start("task", "resume", id), func() {
				w.keeps(id)
				w.isWhole(id, "new")
				w.must("task", "delete", id)
			}
		}},
	}
}

// TestSnapshotKills is the table of what is kept: each moment, each victim. What there was before or what was
// to be is there, the source lives, and nothing is left.
func TestSnapshotKills(t *testing.T) { kills(t, snapshotMoments()) }

// large makes a task whose disk has something on it, and a state.
func (w world) large() string {
	w.Helper()
	id := w.task()
	w.must("task", "exec", id, "--timeout-seconds", "120", "--", "sh", "-c",
		"head -c 40000000 /dev/urandom >large; md5sum large >sum; echo new >state")
	return id
}

// isWhole wants a task that was kept to be whole, with one of these states. The history of a fork is its own.
func (w world) isWhole(id string, states ...string) {
	w.Helper()
	out, err := w.pyro("task", "exec", id, "--timeout-seconds", "120", "--", "sh", "-c",
		"md5sum -c sum >/dev/null && cat state")
	for _, state := range states {
		if err == nil && out == state+"\n" {
			return
		}
	}
	w.Errorf("the task has %q, not one of %q: %v", out, states, err)
}

// whole wants all forks that there are to be whole.
func (w world) whole() {
	w.Helper()
	dirs, _ := filepath.Glob(filepath.Join(w.state, "vms", "task-*"))
	for _, dir := range dirs {
		// One that was being made is removed when its maker is gone.
		data, err := os.ReadFile(filepath.Join(dir, "vm.json"))
		if err == nil && bytes.Contains(data, []byte(`"complete": true`)) {
			w.isWhole(filepath.Base(dir), "new")
		}
	}
}

// usable forks each snapshot that there is, and deletes it. What is left of others goes with the next look
// for the dead.
func (w world) usable() {
	w.Helper()
	var list pyro.ListSnapshotsResult
	if err := json.Unmarshal([]byte(w.must("snapshot", "list", "--json")), &list); err != nil {
		w.Fatal(err)
	}
	for _, s := range list.Snapshots {
		fork := strings.TrimSpace(w.must("task", "fork", s.SnapshotID))
		w.isWhole(fork, "new")
		w.must("task", "delete", fork)
		w.must("snapshot", "delete", s.SnapshotID)
	}
}

// TestSnapshotDiskFull has the host's disk full in the middle of a snapshot, a fork and a pause: one clear
// error each, and the task goes on.
func TestSnapshotDiskFull(t *testing.T) {
	w := newWorld(t)
	script := `
set -u
mount -t tmpfs -o size=340m,mode=0700 none "$PYRO_STATE_DIR" || exit 70
pyro() { "$PYRO_BINARY" "$@"; }
id=$(pyro -q task create debian:12) || exit 71
pyro task exec "$id" --timeout-seconds 120 -- \
	sh -c 'echo kept >kept; head -c 60000000 /dev/urandom >large' || exit 72
pyro task exec "$id" -- sh -c 'echo here >/dev/shm/here' || exit 73
left=$(df --output=avail -k "$PYRO_STATE_DIR" | tail -1)
head -c $((left * 1024 - 30000000)) /dev/zero >"$PYRO_STATE_DIR/filler" || exit 74
for what in snapshot fork pause; do
	pyro task $what "$id" 2>said && exit 75
	grep -q "no space left on device" said || { cat said; exit 76; }
	[ $(grep -c . said) -le 2 ] || { cat said; exit 77; }
	[ "$(pyro task exec "$id" -- cat kept /dev/shm/here | tr '\n' ' ')" = "kept here " ] || exit 78
	[ "$(ls "$PYRO_STATE_DIR/snapshots")" = "" ] || { ls "$PYRO_STATE_DIR/snapshots"; exit 79; }
done
rm "$PYRO_STATE_DIR/filler"
pyro task pause "$id" || exit 80
[ "$(pyro task exec "$id" -- cat /dev/shm/here)" = here ] || exit 81
pyro task delete "$id" || exit 82
echo as before
`
	cmd := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c", script)
	cmd.Env, cmd.Dir = w.env(), t.TempDir()
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.HasSuffix(string(out), "as before\n") {
		t.Errorf("%v", err)
	}
	w.empty()
}
