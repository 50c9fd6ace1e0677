package vmmtest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/image"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// NewBoxedGuest builds the image that the suite's guest starts on if the driver's guests have the VMM for a
// kernel ([vmm.Abilities].Boxed).
func NewBoxedGuest(t testing.TB) Guest {
	t.Helper()
	program, err := buildInit(t)
	must(t, err)
	data, err := os.ReadFile(program)
	must(t, err)
	guest := Guest{Initrd: filepath.Join(t.TempDir(), "root.erofs")}
	files := map[string][]byte{"init": data}
	writeBoxed(t, guest.Initrd, files, "base", "dev", "proc", "sys", "tmp")
	return guest
}

// writeBoxed writes an image that can be mapped, of files that may be run and of directories.
func writeBoxed(t testing.TB, path string, files map[string][]byte, dirs ...string) {
	t.Helper()
	tree := image.NewTree()
	for name, data := range files {
		must(t, tree.Add(name, image.Entry{Mode: 0o755, Data: data}))
	}
	for _, dir := range dirs {
		must(t, tree.Add(dir, image.Entry{Mode: fs.ModeDir | 0o755}))
	}
	file, err := os.Create(path)
	must(t, err)
	defer file.Close()
	_, err = tree.WriteEROFS(t.Context(), file, image.EROFSOptions{Mappable: true})
	must(t, err)
}

func (r *rig) boxed() bool { return r.config.Driver.Abilities().Boxed }

// box makes a spec one of a boxed guest: its base is a tree, its second disk what was kept of one.
func (r *rig) box(t testing.TB, spec *vmm.Spec, dir string) {
	t.Helper()
	spec.Dir = dir
	writeBoxed(t, spec.Disks[0].Path, map[string][]byte{"base": []byte("this is the base\n")})
	spec.Disks[1] = vmm.Disk{Path: spec.Disks[1].File.Name(), ID: "scratch", ReadOnly: true}
	spec.Cmdline = link.CmdlineNetwork + " " + link.CmdlineKept
}

// checkScratch wants the guest to write its disk, so that it is on the host's, if it has one.
func (r *rig) checkScratch(t *testing.T, g *guest) {
	t.Helper()
	first := "the guest was here\n"
	if !r.boxed() {
		g.want("write scratch the guest was here", "written")
	} else {
		first = "this is the scratch disk\n"
		if got := g.ask("write scratch no"); !strings.HasPrefix(got, "error: ") {
			t.Errorf("what was kept is there to be read, and was written: %q", got)
		}
	}
	onDisk, err := os.ReadFile(g.scratch)
	must(t, err)
	if !bytes.HasPrefix(onDisk, []byte(first)) {
		t.Errorf("the disk does not begin with %q", first)
	}
}

// spoils are ways to ask for what cannot be: those that every driver sees, then those of a driver whose
// machines have devices.
func (r *rig) spoils() map[string]func(*vmm.Spec) {
	all := map[string]func(*vmm.Spec){
		"no initrd": func(s *vmm.Spec) { s.Initrd += ".missing" },
		"no disk":   func(s *vmm.Spec) { s.Disks[0].Path += ".missing" },
	}
	if r.boxed() {
		all["nothing kept"] = func(s *vmm.Spec) { s.Disks[1].Path += ".missing" }
		all["no directory"] = func(s *vmm.Spec) { s.Dir = "" }
		return all
	}
	all["no kernel"] = func(s *vmm.Spec) { s.Kernel += ".missing" }
	all["a disk's ID"] = func(s *vmm.Spec) { s.Disks[0].ID = "a,b" }
	all["two of an ID"] = func(s *vmm.Spec) { s.Disks[0].ID = s.Disks[1].ID }
	all["no accelerator"] = func(s *vmm.Spec) { s.Accelerator = "magic" }
	all["a MAC"] = func(s *vmm.Spec) { s.MAC += ",x=y" }
	all[tooMuchMemory] = func(s *vmm.Spec) { s.MemMiB = 64 << 20 }
	return all
}

const tooMuchMemory = "its memory"

// checkPartKilled kills one of the processes that a VMM is made of. The machine goes on, or ends as a whole.
func (r *rig) checkPartKilled(t *testing.T, part int) {
	t.Helper()
	g := r.fresh(t)
	g.want("echo hello", "hello")
	all := family(t, g.PID())
	if part >= len(all) {
		return // There were more at another time.
	}
	must(t, unix.PidfdSendSignal(all[part], unix.SIGKILL, nil, 0))
	mortal, ok := g.Machine.(vmm.Mortal)
	doomed := ok && mortal.Dying()
	_, err := io.WriteString(g.conn, "echo still here\n")
	if err == nil {
		late := time.AfterFunc(patience, func() { g.Kill() })
		defer late.Stop()
		_, err = g.lines.ReadString('\n')
	}
	if err == nil {
		if doomed {
			t.Errorf("process %d of %d: a machine that answers is dying", part+1, len(all))
		}
		must(t, g.Kill())
	} else if err := g.ended(); err == nil || errors.Is(err, vmm.ErrKilled) {
		t.Errorf("Err is %v after a kill of process %d of %d", err, part+1, len(all))
	}
	checkFamilyEnded(t, all, false)
}

// family gives handles on a process and all that descend from it.
func family(t *testing.T, pid int) []int {
	t.Helper()
	var handles []int
	for _, pid := range descent(pid) {
		handle, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // It has ended.
		}
		handles = append(handles, handle)
	}
	t.Cleanup(func() {
		for _, handle := range handles {
			unix.Close(handle)
		}
	})
	return handles
}

// descent is a process and all that descend from it.
func descent(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, childrenOf(all[i])...)
	}
	return all
}

// checkFamilyEnded wants processes to have ended: the first at once or soon, those that descend from it soon,
// for the kernel has sent them what ends them.
func checkFamilyEnded(t *testing.T, handles []int, soon bool) {
	t.Helper()
	for i, handle := range handles {
		wait := 0
		if soon || i > 0 {
			wait = int(patience.Milliseconds())
		}
		n, err := poll(handle, wait)
		for err == unix.EINTR {
			n, err = poll(handle, wait)
		}
		if n != 1 {
			t.Errorf("process %d of %d outlives its machine (%v)", i+1, len(handles), err)
			_ = unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0)
		}
	}
}

// poll waits for a process's end, for at most some milliseconds.
func poll(handle, wait int) (int, error) {
	return unix.Poll([]unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}, wait)
}
