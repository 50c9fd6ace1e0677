// Command guest is the init of the suite's guest: it loads the modules that stand in /modules, in the order
// of their names, and answers one line on the link for each line that it reads there.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

func main() {
	run := serve
	if len(os.Args) > 1 && os.Args[1] == link.Boxed {
		run = serveBoxed
	}
	fmt.Fprintln(os.Stderr, "guest:", run())
	os.Exit(1) // PID 1 ends: the kernel panics, and says so on the console
}

// serve brings the guest up and answers until the link ends; it never returns nil.
func serve() error {
	started := uptime()
	for _, m := range []struct{ dir, kind string }{{"/proc", "proc"}, {"/sys", "sysfs"},
		{"/dev", "devtmpfs"}} {
		os.MkdirAll(m.dir, 0o755)
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, path := range modules {
		if err := load(path); err != nil {
			return err
		}
	}
	port, err := findPort("pyro.link")
	if err != nil {
		return err
	}
	// The port was open for nobody before: what the host sent since then is waiting in it.
	return answer(port, started, do)
}

// answer says that the guest is ready, then answers each line by what do says of it.
func answer(port io.ReadWriter, started float64, do func(word, rest string) (string, error)) error {
	fmt.Fprintf(port, "ready %.2f %.2f\n", started, uptime())
	remembered := ""
	lines := bufio.NewScanner(port)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if word == "set" {
			remembered = rest
		}
		if word == "get" {
			rest = remembered
		}
		answer, err := do(word, rest)
		if err != nil {
			answer = "error: " + err.Error()
		}
		if _, err := fmt.Fprintln(port, answer); err != nil {
			return err
		}
	}
	return fmt.Errorf("the link ended: %w", lines.Err())
}

// do does what one line asks for and returns the answer.
func do(word, rest string) (string, error) {
	switch word {
	case "echo", "set", "get":
		return rest, nil
	case "read": // ID: the first line of the disk
		disk, err := findDisk(rest)
		if err != nil {
			return "", err
		}
		return readLine(disk)
	case "write": // ID WORDS: make them the disk's first line
		id, words, _ := strings.Cut(rest, " ")
		disk, err := findDisk(id)
		if err != nil {
			return "", err
		}
		return "written", writeLine(disk, words)
	case "nics":
		entries, err := os.ReadDir("/sys/class/net")
		return fmt.Sprint(len(entries) - 1), err // without lo
	case "up": // IPv6 then sends frames by itself
		return "up", up("eth0")
	case "panic":
		return "", os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case "reboot":
		return "", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	return "", fmt.Errorf("unknown word %q", word)
}

func up(nic string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq(nic)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// uptime is the seconds since the kernel's clock started.
func uptime() float64 {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano()).Seconds()
}

func load(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.FinitModule(int(file.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

// findPort opens the virtio port of that name; the kernel may still be at work on it.
func findPort(name string) (*os.File, error) {
	for range 500 {
		found, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, path := range found {
			if got, _ := os.ReadFile(path); strings.TrimSpace(string(got)) == name {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(path)), os.O_RDWR, 0)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, fmt.Errorf("no port %q", name)
}

// findDisk returns the device of the disk whose second block is labelled so.
func findDisk(label string) (string, error) {
	found, _ := filepath.Glob("/sys/block/*")
	for _, path := range found {
		device := "/dev/" + filepath.Base(path)
		file, err := os.Open(device)
		if err != nil {
			continue
		}
		block := make([]byte, 512)
		_, err = file.ReadAt(block, 512)
		file.Close()
		if line, _, _ := strings.Cut(string(block), "\n"); err == nil && line == label {
			return device, nil
		}
	}
	return "", fmt.Errorf("no disk %q", label)
}

func readLine(disk string) (string, error) {
	file, err := os.Open(disk)
	if err != nil {
		return "", err
	}
	defer file.Close()
	block := make([]byte, 512)
	if _, err := file.Read(block); err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(block), "\n")
	return strings.TrimRight(line, "\x00"), nil
}

func writeLine(disk, line string) error {
	file, err := os.OpenFile(disk, os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	block := make([]byte, 512)
	copy(block, line+"\n")
	_, err = file.WriteAt(block, 0)
	return err
}
