package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"golang.org/x/sys/unix"
)

// TestBundle reads a bundle as runsc would.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	spec := vmm.Spec{
		Name:    "name",
		Initrd:  "/images/root.erofs",
		Disks:   []vmm.Disk{{Path: "/images/base, \"quoted\".erofs"}},
		Cmdline: "pyro.disk_mib=64 GOMAXPROCS=2 pyro.network=1",
		MemMiB:  256,
		Dir:     dir,
	}
	if err := bundle(spec).write(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got config
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	want := []string{"/init", link.Boxed, "pyro.disk_mib=64", "pyro.network=1"}
	if !slices.Equal(got.Process.Args, want) {
		t.Errorf("the first process is %q, not %q", got.Process.Args, want)
	}
	if !slices.Contains(got.Process.Env, "GOMAXPROCS=2") {
		t.Errorf("its environment is %q", got.Process.Env)
	}
	if got.Hostname != "name" || got.Linux.Resources.Memory.Limit != 256<<20 {
		t.Errorf("the guest is %q with %d bytes", got.Hostname, got.Linux.Resources.Memory.Limit)
	}
	if !got.Root.Readonly || got.Annotations["dev.gvisor.spec.rootfs.source"] != spec.Initrd {
		t.Errorf("it starts on %+v, %v", got.Root, got.Annotations)
	}
	// Nothing of the host's but the images: no bind mount, no directory.
	for _, m := range got.Mounts {
		if m.Type != "proc" && (m.Type != "erofs" || m.Source != spec.Disks[0].Path ||
			!slices.Contains(m.Options, "ro")) {
			t.Errorf("it gets the mount %+v", m)
		}
	}
	kinds := map[string]bool{}
	for _, n := range got.Linux.Namespaces {
		kinds[n.Type] = true
	}
	for _, kind := range []string{"pid", "ipc", "uts", "mount", "network"} {
		if !kinds[kind] {
			t.Errorf("it has no %s namespace of its own", kind)
		}
	}
	if slices.Contains(got.Process.Capabilities["bounding"], "CAP_SYS_MODULE") {
		t.Error("it may load modules")
	}
}

// TestPath finds the companion program where it is named, and says what to do if it is not there.
func TestPath(t *testing.T) {
	program := filepath.Join(t.TempDir(), "runsc")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := New(Options{Binary: program}).Path(); got != program || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("PATH", t.TempDir())
	for _, named := range []string{"", program + ".missing"} {
		_, err := New(Options{Binary: named}).Path()
		var hinter vmm.Hinter
		if !errors.Is(err, vmm.ErrMissing) || !errors.As(err, &hinter) ||
			!strings.Contains(hinter.Hint(), "PYRO_RUNSC") {
			t.Errorf("%q: %v", named, err)
		}
	}
	other := filepath.Join(os.Getenv("PATH"), Program)
	if err := os.WriteFile(other, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := New(Options{}).Path(); got != other || err != nil {
		t.Errorf("on PATH: got %q, %v", got, err)
	}
}

// TestReason tells ends apart.
func TestReason(t *testing.T) {
	type end struct {
		script string
		want   string // in the text; empty is no error
		is     error
	}
	for _, c := range []end{
		{"exit 0", "", nil},
		{"exit 3", "exit status 3: the \\x1b last", nil},
		{"exit 137", "killed from outside", vmm.ErrKilledOutside},
		{"kill -9 $$", "killed from outside", vmm.ErrKilledOutside},
		{"kill -15 $$", "exit status -1", nil},
		{"# ours\nexit 3", "killed", vmm.ErrKilled},
	} {
		m := &machine{}
		m.killed.Store(strings.HasPrefix(c.script, "# ours"))
		if _, err := m.log.Write([]byte("first\nthe \\x1b last\n")); err != nil {
			t.Fatal(err)
		}
		err := m.reason(exec.Command("sh", "-c", c.script).Run())
		said := fmt.Sprint(err)
		if (err == nil) != (c.want == "") || !strings.Contains(said, c.want) {
			t.Errorf("%q is %v", c.script, err)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%q: %v is not %v", c.script, err, c.is)
		}
	}
}

// TestTail keeps little of much, and nothing in it that a terminal would act on.
func TestTail(t *testing.T) {
	var log tail
	if got := log.last(); got != "" {
		t.Errorf("nothing was said, and the last of it is %q", got)
	}
	for range 100 {
		if n, err := log.Write([]byte(strings.Repeat("x", 1000))); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := log.Write([]byte("\n\x1b[31mred\x7f\xff\n\n")); err != nil {
		t.Fatal(err)
	}
	if got := log.last(); got != " [31mred ?" {
		t.Errorf("the last line is %q", got)
	}
	if len(log.kept) > 8<<10 {
		t.Errorf("%d bytes are kept", len(log.kept))
	}
}

// TestPin has a thread of its own for each number of processors, for it is not to be used again.
func TestPin(t *testing.T) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	have := allowed.Count()
	for asked, want := range map[int]int{0: 1, 1: 1, have: have, have + 7: have} {
		got := make(chan unix.CPUSet)
		go func() {
			defer close(got)
			runtime.LockOSThread()
			var set unix.CPUSet
			if err := errors.Join(pin(asked), unix.SchedGetaffinity(0, &set)); err != nil {
				t.Error(err)
			}
			got <- set
		}()
		set := <-got
		if set.Count() != want {
			t.Errorf("of %d processors %d are kept to, not %d", have, set.Count(), want)
		}
	}
}
