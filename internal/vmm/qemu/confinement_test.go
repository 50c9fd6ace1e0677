package qemu

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"
)

// attackMode makes the test program what a guest would make of a QEMU that it has taken over.
const attackMode = "attack"

// target is what there is to attack.
type target struct {
	Outside string // a file of the caller's
	Dir     string // a directory of the caller's, to make files in
	Memory  string // the path of a file that is lent for reading
	Parent  int    // the process id of the supervisor
}

// result is what an attempt came to.
type result struct {
	Name string
	Done bool
	Why  string
}

// attempts are what QEMU must not be able to do.
func attempts(at target) []result {
	var out []result
	try := func(name string, err error) {
		r := result{Name: name, Done: err == nil}
		if err != nil {
			r.Why = err.Error()
		}
		out = append(out, r)
	}
	open := func(path string, flags int) error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	try("read a file of the caller's", open(at.Outside, unix.O_RDONLY))
	try("list the caller's files", open(at.Dir, unix.O_RDONLY|unix.O_DIRECTORY))
	try("make a file", open(filepath.Join(at.Dir, "made"), unix.O_WRONLY|unix.O_CREAT))
	try("make a file in /tmp", open("/tmp/pyro-test-made", unix.O_WRONLY|unix.O_CREAT))
	_ = os.Remove("/tmp/pyro-test-made")
	try("open the lent file anew, to write", open(at.Memory, unix.O_WRONLY))
	for name, family := range map[string]int{"inet": unix.AF_INET, "unix": unix.AF_UNIX,
		"netlink": unix.AF_NETLINK} {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
		if err == nil {
			unix.Close(fd)
		}
		try("open a socket: "+name, err)
	}
	try("signal the supervisor", unix.Kill(at.Parent, 0))
	runtime.LockOSThread()
	err := unix.PtraceSeize(at.Parent)
	if err == nil {
		unix.PtraceDetach(at.Parent)
	}
	try("trace the supervisor", err)
	params := make([]byte, 256)
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&params[0])), 0)
	if errno == 0 {
		unix.Close(int(ring))
		try("set up an io_uring", nil)
	} else {
		try("set up an io_uring", errno)
	}
	try("make a user namespace", unix.Unshare(unix.CLONE_NEWUSER))
	// Only what is the test's own may be mounted on: unconfined, and as root, it works.
	err = unix.Mount("none", at.Dir, "tmpfs", 0, "")
	if err == nil {
		err = unix.Unmount(at.Dir, unix.MNT_DETACH)
	}
	try("mount", err)
	_, err = unix.FcntlInt(inheritedFD, unix.F_GETFD, 0)
	try("hold a file of the caller's", err)
	return out
}

// inheritedFD is a file descriptor that the supervisor was left with by whoever started it.
const inheritedFD = 99

// attack is the other process: it says what it could do, a line for each attempt.
func attack(args []string) int {
	var at target
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &at) != nil {
		return 2
	}
	// What is lent is opened as QEMU does it.
	lent, err := unix.Open(at.Memory, unix.O_RDWR, 0)
	out := attempts(at)
	out = append(out, result{Name: "read the lent file", Done: err == nil, Why: fmt.Sprint(err)})
	_, err = unix.Pwrite(lent, []byte("x"), 0)
	out = append(out, result{Name: "write the lent file", Done: err == nil, Why: fmt.Sprint(err)})
	_, err = unix.Mmap(lent, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	out = append(out, result{Name: "map the lent file, to write", Done: err == nil, Why: fmt.Sprint(err)})
	err = unix.Fchmod(lent, 0o666)
	out = append(out, result{Name: "change the lent file's mode", Done: err == nil, Why: fmt.Sprint(err)})
	// A change is found by the file's time, if nobody can set that back.
	err = unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", lent), make([]unix.Timespec, 2), 0)
	out = append(out, result{Name: "set the lent file's time back", Done: err == nil, Why: fmt.Sprint(err)})
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(lent), 0, 0, 0, 0, 0)
	r := result{Name: "set the lent file's time", Done: errno == 0, Why: errno.Error()}
	for _, r := range append(out, r) {
		line, err := json.Marshal(r)
		if err != nil {
			return 1
		}
		fmt.Println(string(line))
	}
	return 0
}

// heard reads what the other process said.
func heard(t *testing.T, said []byte) map[string]result {
	t.Helper()
	all := map[string]result{}
	for lines := bufio.NewScanner(bytes.NewReader(said)); lines.Scan(); {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		all[r.Name] = r
	}
	return all
}

// TestConfinement has another program take QEMU's place and try what QEMU must not be able to do. Each
// attempt is proven to be a good one by making it unconfined first.
func TestConfinement(t *testing.T) {
	dir := t.TempDir()
	at := target{
		Outside: filepath.Join(dir, "outside"),
		Dir:     dir,
		Memory:  filepath.Join(dir, "memory"),
		Parent:  os.Getpid(),
	}
	for _, path := range []string{at.Outside, at.Memory} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("whole\n"), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := unix.Dup3(int(null.Fd()), inheritedFD, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inheritedFD)
	self := filepath.Join(t.TempDir(), "qemu") // in a directory of its own, all of which is QEMU's
	if program, err := os.ReadFile("/proc/self/exe"); err != nil || os.WriteFile(self, program,
		0o755) != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	free, err := exec.Command(self, attackMode, string(encoded)).Output()
	if err != nil {
		t.Fatal(err)
	}
	g, err := negotiate(t.Context(), fresh())
	if err != nil {
		t.Fatal(err)
	}
	console, err := os.Create(filepath.Join(dir, "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	o := order{
		Hostname:  "test",
		Programs:  programs(self),
		FileBytes: 1 << 20,
		Borrow:    g.Borrow,
	}
	program := command{args: []string{self, attackMode, string(encoded)}}
	p, said, listener, err := startShim(t.Context(), g, o, program, console, nil)
	if err != nil {
		t.Fatal(err)
	}
	lent, err := os.Open(at.Memory)
	if err != nil {
		t.Fatal(err)
	}
	defer lent.Close()
	if err := confine.Lend(t.Context(), listener, lent); err != nil {
		t.Error(err)
	}
	<-p.done
	t.Logf("%+v: %v", g, report(g, said, o))
	out, err := os.ReadFile(console.Name())
	if err != nil {
		t.Fatal(err)
	}
	unconfined, confined := heard(t, free), heard(t, out)
	if len(confined) != len(unconfined) || len(confined) < 15 {
		t.Fatalf("%d attempts confined, %d not; it said %s", len(confined), len(unconfined), p.tail)
	}
	good := 0
	for name, r := range confined {
		t.Logf("%s: unconfined %v, confined: %v (%s)", name, unconfined[name].Done, r.Done, r.Why)
		if name == "read the lent file" {
			if !r.Done {
				t.Errorf("%s fails: %s", name, r.Why)
			}
			continue
		}
		if r.Done {
			t.Errorf("it can %s", name)
		}
		if unconfined[name].Done {
			good++
		}
	}
	if good < 10 {
		t.Errorf("only %d of the attempts work unconfined", good)
	}
	got, err := os.ReadFile(at.Memory)
	if err != nil || !strings.HasPrefix(string(got), "xhole\n") { // The x is of the attempt unconfined.
		t.Errorf("what was lent has changed (%v)", err)
	}
}

// A host that refuses namespaces leaves Landlock and the filters.
func TestConfinementWithoutNamespaces(t *testing.T) {
	p, said, listener, err := startShim(t.Context(), granted{}, order{FileBytes: 1 << 20, Borrow: true},
		command{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	if listener == nil || said.CallsErr != "" {
		t.Errorf("it said %+v", said)
	} else {
		listener.Close()
	}
	lines := report(granted{Refused: map[string]string{string(confine.Net): "it said no"}}, said, order{})
	if text := lines.String(); !strings.Contains(text, "network") || strings.Contains(text,
		"view of its own") {
		t.Errorf("the report is %q", text)
	}
}
