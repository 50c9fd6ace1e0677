package confine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/pyro-mcp/pyro/internal/socketpair"
	"golang.org/x/sys/unix"
)

// Words that make the test program one that borrows, and then one that opens.
const (
	borrower = "confine-test-borrower"
	opener   = "confine-test-opener"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == borrower {
		os.Exit(borrow())
	}
	if len(os.Args) > 1 && os.Args[1] == opener {
		open()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// borrow hands the listener to its parent, on file descriptor 3, and becomes a program that opens a file
// twice.
func borrow() int {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 1
	}
	listener, err := Borrow()
	if err != nil {
		return 2
	}
	if err := unix.Sendmsg(3, []byte("x"), unix.UnixRights(int(listener.Fd())), nil, 0); err != nil {
		return 3
	}
	listener.Close()
	syscall.Exec("/proc/self/exe", []string{"test", opener}, os.Environ())
	return 4
}

// open opens a file twice, as QEMU does, and says what it can do with it.
func open() {
	fd, err := unix.Open("secret", unix.O_RDWR, 0)
	text := make([]byte, 5)
	n, _ := unix.Read(fd, text)
	fmt.Println("read", string(text[:n]), err)
	_, err = unix.Write(fd, text)
	fmt.Println("write", err)
	_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	fmt.Println("private", err)
	_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	fmt.Println("shared", err)
	_, err = unix.Open("secret", unix.O_RDWR, 0)
	fmt.Println("again", err)
}

// TestLend lends a file, open for reading alone, to a program that opens another for both; the path that it
// names leads nowhere.
func TestLend(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(secret, []byte("whole\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	parent, child, err := socketpair.Files("child", unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	cmd := exec.Command("/proc/self/exe", borrower)
	cmd.ExtraFiles, cmd.Dir = []*os.File{child}, t.TempDir()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child.Close()
	var rights [64]byte
	_, n, _, _, err := unix.Recvmsg(int(parent.Fd()), make([]byte, 1), rights[:], unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages: %v", len(messages), err)
	}
	got, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := Lend(t.Context(), os.NewFile(uintptr(got[0]), "listener"), file); err != nil {
		t.Error(err)
	}
	var lines []string
	for scan := bufio.NewScanner(out); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	const want = "read whole <nil>, write bad file descriptor, private <nil>, " +
		"shared permission denied, again function not implemented"
	if said := strings.Join(lines, ", "); said != want {
		t.Errorf("the program said %q", said)
	}
	if data, _ := os.ReadFile(secret); string(data) != "whole\n" {
		t.Errorf("the file is now %q", data)
	}
}
