package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
	"golang.org/x/sys/unix"
)

// What the caller has open is nobody else's: neither the supervisor nor the VMM gets it, be it a file, a
// directory or a socket, under a low number or a high one.
func TestNothingIsInherited(t *testing.T) {
	p := engine(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	files := []*os.File{os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")}
	for _, path := range []string{secret, dir} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	caller := map[string]bool{}
	for _, f := range files {
		defer f.Close()
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		caller[link] = true
	}
	// The shell gives them high numbers, too.
	const line = `exec 9<&5 30<&6 60<&3; exec pyro -q task create debian:12`
	cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
	cmd.ExtraFiles = files
	o := p.Options()
	cmd.Env = append(os.Environ(), "PYRO_STATE_DIR="+o.StateDir, "PYRO_CACHE_DIR="+o.CacheDir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(out))
	defer p.DeleteTask(t.Context(), pyro.TaskRequest{TaskID: id})
	found := 0
	for _, pid := range processesOf(t, id) {
		links, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Errorf("process %d: %v", pid, err)
		}
		for _, l := range links {
			at, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, l.Name()))
			if caller[at] {
				t.Errorf("process %d has the caller's %s open as %s", pid, at, l.Name())
			}
		}
		found++
	}
	if found < 2 {
		t.Errorf("%d processes were looked at, not the supervisor and the VMM", found)
	}
}

// processesOf gives the processes that a VM consists of, by its id on their command lines.
func processesOf(t *testing.T, id string) (pids []int) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(line, []byte(id)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}
