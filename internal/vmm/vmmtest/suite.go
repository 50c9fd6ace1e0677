// Package vmmtest has the suite that each driver of package vmm must pass, on real guests.
package vmmtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Config is what the suite runs on.
type Config struct {
	Driver      vmm.Driver
	Guest       Guest
	Accelerator vmm.Accelerator
	Checkpoints bool // its machines are a [vmm.Checkpointer] that works on this host
}

// orphanVariable tells a copy of the test program that it is to start a machine, say its process id, and wait
// to be killed.
const orphanVariable = "PYRO_VMMTEST_ORPHAN"

// Run checks that a driver keeps its contract. The calling test must be a top-level one, without much before
// the call: it is run once more in a process that is killed.
func Run(t *testing.T, config Config) {
	r := &rig{config: config, dir: t.TempDir()}
	if os.Getenv(orphanVariable) != "" {
		r.orphan(t)
		return
	}
	name := t.Name()
	before := descriptors(t)
	// The first boots; the others clone what it leaves, if the driver can.
	t.Run("Boot", r.checkBoot)
	t.Run("Clone", r.checkClone)
	t.Run("Checkpoint", r.checkCheckpoint)
	t.Run("DamagedCheckpoint", r.checkDamagedCheckpoint)
	t.Run("Snapshot", r.checkSnapshot)
	t.Run("BootedSnapshot", r.checkBootedSnapshot)
	t.Run("DamagedState", r.checkDamagedState)
	t.Run("Kill", r.checkKill)
	t.Run("KilledFromOutside", r.checkKilledFromOutside)
	t.Run("Reboot", r.checkReboot)
	t.Run("Panic", r.checkPanic)
	t.Run("CannotStart", r.checkCannotStart)
	t.Run("Cancelled", r.checkCancelled)
	t.Run("DiesWithParent", func(t *testing.T) { checkOrphan(t, name) })
	if r.state != nil {
		r.state.Close()
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
	if left := children(t); left != "" {
		t.Errorf("these processes are left: %s", left)
	}
	entries, err := os.ReadDir(r.dir)
	must(t, err)
	if len(entries) > 3 { // memory, state and VMM of the template
		t.Errorf("files are left: %v", entries)
	}
}

// checkBoot boots, tries each device, and makes the template.
func (r *rig) checkBoot(t *testing.T) {
	g := r.boot(t, r.memory())
	g.want("echo hello", "hello")
	long := "echo " + strings.Repeat("x", 100_000)
	g.want(long, long[len("echo "):])
	g.want("read base", "this is the base")
	g.want("read scratch", "this is the scratch disk")
	r.checkScratch(t, g)
	g.want("nics", "1")
	g.want("up", "up")
	checkFrame(t, g)
	if got := g.ask("write base no"); !strings.HasPrefix(got, "error: ") {
		t.Errorf("a read-only disk was written: %q", got)
	}
	g.want("set remembered by all clones", "remembered by all clones")

	freezer, ok := g.Machine.(vmm.Freezer)
	if !ok {
		return
	}
	state, err := os.Create(filepath.Join(r.dir, "state"))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, freezer.Freeze(ctx, state))
	r.takeCheckpoint(t, g)
	must(t, g.Kill())
	if info, err := state.Stat(); err != nil || info.Size() == 0 {
		t.Fatalf("the state is empty (%v)", err)
	}
	r.state = state
}

// checkFrame reads one frame of the guest's.
func checkFrame(t *testing.T, g *guest) {
	t.Helper()
	must(t, g.network.SetReadDeadline(time.Now().Add(patience)))
	var head [4 + 14]byte // the length, and Ethernet's header
	_, err := io.ReadFull(g.network, head[:])
	must(t, err)
	length, source := binary.BigEndian.Uint32(head[:]), net.HardwareAddr(head[10:16]).String()
	if length < 14 || length > 1514 || source != macAddress {
		t.Errorf("the guest's first frame has %d bytes and comes from %s", length, source)
	}
}

// checkClone starts two from the template, at a time.
func (r *rig) checkClone(t *testing.T) {
	if r.state == nil {
		t.Log("the driver cannot freeze")
		return
	}
	sum := checksum(t, r.memory())
	first, second := r.fresh(t), r.fresh(t)
	first.want("get", "remembered by all clones")
	first.want("set known to the first alone", "known to the first alone")
	second.want("get", "remembered by all clones")
	second.want("read base", "this is the base")
	second.want("write scratch a clone was here", "written")
	must(t, first.Kill())
	second.want("echo still here", "still here")
	must(t, second.Kill())
	if checksum(t, r.memory()) != sum {
		t.Error("a clone has changed the template's memory")
	}
}

// checkDamagedState clones from half a state.
func (r *rig) checkDamagedState(t *testing.T) {
	if r.state == nil {
		t.Log("the driver cannot freeze")
		return
	}
	whole, err := os.ReadFile(r.state.Name())
	must(t, err)
	path := filepath.Join(t.TempDir(), "half")
	must(t, os.WriteFile(path, whole[:len(whole)/2], 0o600))
	half, err := os.Open(path)
	must(t, err)
	defer half.Close()
	spec, _ := r.spec(t)
	spec.Memory, spec.Incoming = &vmm.Memory{Path: r.memory()}, half
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	machine, err := r.config.Driver.Start(ctx, spec)
	if err == nil {
		machine.Kill()
		t.Fatal("a machine starts from half a state")
	}
	if ctx.Err() != nil {
		t.Errorf("half a state is not noticed: %v", err)
	}
	if left := children(t); left != "" {
		t.Errorf("these processes are left: %s", left)
	}
}

// checkKill kills a machine twice.
func (r *rig) checkKill(t *testing.T) {
	g := r.fresh(t)
	g.want("echo hello", "hello")
	if err := g.Err(); err != nil {
		t.Errorf("a machine that runs has ended by %v", err)
	}
	all := family(t, g.PID())
	must(t, g.Kill())
	checkFamilyEnded(t, all, false)
	if err := g.ended(); !errors.Is(err, vmm.ErrKilled) {
		t.Errorf("Err is %v after Kill", err)
	}
	must(t, g.Kill())
	if _, err := io.ReadAll(g.conn); err != nil {
		t.Errorf("the link does not end: %v", err)
	}
}

// checkKilledFromOutside kills the VMM behind the driver's back.
func (r *rig) checkKilledFromOutside(t *testing.T) {
	g := r.fresh(t)
	g.want("echo hello", "hello")
	mortal, ok := g.Machine.(vmm.Mortal)
	if ok && mortal.Dying() {
		t.Error("a machine that answers is dying")
	}
	all := family(t, g.PID())
	must(t, syscall.Kill(g.PID(), syscall.SIGKILL))
	if ok && !mortal.Dying() {
		t.Error("a machine that was killed is not dying")
	}
	if err := g.ended(); err == nil || errors.Is(err, vmm.ErrKilled) {
		t.Errorf("Err is %v after a kill from outside", err)
	}
	checkFamilyEnded(t, all, false)
	for i := 1; i < len(all); i++ { // the VMM's own processes, each in turn
		r.checkPartKilled(t, i)
	}
}

// checkReboot has the guest end itself.
func (r *rig) checkReboot(t *testing.T) {
	g := r.fresh(t)
	g.send("reboot")
	if err := g.ended(); err != nil {
		t.Errorf("the guest ended itself, and Err is %v", err)
	}
	if watcher, ok := g.Machine.(vmm.Watcher); ok {
		var kinds []vmm.EventKind
		for event := range watcher.Events() {
			kinds = append(kinds, event.Kind)
		}
		if len(kinds) != 1 || kinds[0] != vmm.Shutdown {
			t.Errorf("the events of a reboot are %v", kinds)
		}
	}
}

// checkPanic has the guest's kernel panic.
func (r *rig) checkPanic(t *testing.T) {
	g := r.fresh(t)
	g.send("panic")
	ended := g.ended()
	if r.boxed() { // There is no kernel that could: its first process fails.
		if ended == nil || !strings.Contains(ended.Error(), "last words") {
			t.Errorf("the end of its first process is %v", ended)
		}
		return
	}
	said, err := os.ReadFile(g.console)
	must(t, err)
	if !bytes.Contains(said, []byte("Kernel panic")) {
		t.Errorf("the console says nothing of a panic:\n%s", said)
	}
}

// checkCannotStart asks for what cannot be.
func (r *rig) checkCannotStart(t *testing.T) {
	for name, spoil := range r.spoils() {
		spec, _ := r.spec(t)
		spoil(&spec)
		machine, err := r.config.Driver.Start(t.Context(), spec)
		if err == nil {
			machine.Kill()
			t.Errorf("%s: the machine starts", name)
			continue
		}
		t.Logf("%s: %v", name, err)
		if strings.ContainsAny(err.Error(), "\n\r") || errors.Is(err, vmm.ErrKilled) {
			t.Errorf("%s: not a sentence for people: %v", name, err)
		}
		if name == tooMuchMemory && !errors.Is(err, vmm.ErrNoMemory) {
			t.Errorf("too much memory is %v", err)
		}
	}
	if left := children(t); left != "" {
		t.Errorf("these processes are left: %s", left)
	}
}

// checkCancelled starts with a context that has ended.
func (r *rig) checkCancelled(t *testing.T) {
	spec, _ := r.spec(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	machine, err := r.config.Driver.Start(ctx, spec)
	if err == nil {
		must(t, machine.Kill()) // it was quicker
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled start fails with %v", err)
	}
	if left := children(t); left != "" {
		t.Errorf("these processes are left: %s", left)
	}
}

// orphan is the other process of checkOrphan.
func (r *rig) orphan(t *testing.T) {
	spec, g := r.spec(t)
	r.start(spec, g)
	os.Stdout.WriteString("\norphan " + strconv.Itoa(g.PID()) + "\n")
	select {} // to be killed
}

// checkOrphan kills a machine's parent, which has no time to do anything about it.
func checkOrphan(t *testing.T, name string) {
	parent := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.timeout=5m")
	parent.Env = append(os.Environ(), orphanVariable+"=1")
	out, err := parent.StdoutPipe()
	must(t, err)
	must(t, parent.Start())
	defer parent.Wait()
	defer parent.Process.Kill()
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		word, found := strings.CutPrefix(lines.Text(), "orphan ")
		if !found {
			continue
		}
		pid, err := strconv.Atoi(word)
		must(t, err)
		all := family(t, pid)
		must(t, parent.Process.Kill())
		checkFamilyEnded(t, all, true)
		return
	}
	t.Fatalf("the other process started no machine:\n%s", said.String())
}

// descriptors counts this process's open files.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// children lists this process's children.
func children(t *testing.T) string {
	t.Helper()
	all := childrenOf(os.Getpid())
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprint(all)
}

// childrenOf lists a process's children.
func childrenOf(pid int) (all []int) {
	found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range found {
		list, err := os.ReadFile(path)
		for word := range strings.FieldsSeq(string(list)) {
			child, atoi := strconv.Atoi(word)
			if err == nil && atoi == nil { // a thread may have ended
				all = append(all, child)
			}
		}
	}
	return all
}

// checksum is of a whole file, for accidents.
func checksum(t *testing.T, path string) uint32 {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, err = io.Copy(sum, file)
	must(t, err)
	return sum.Sum32()
}
