package checkpoint_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/checkpoint"
	"github.com/pyro-mcp/pyro/internal/confine"
)

// script is a program with what a checkpoint has to keep: much memory, threads that wait, one of them for a
// long time, a signal's handler and mask, descriptors that the kernel makes, and a socket that it was given
// as number 3. It answers each line with what it knows.
const script = `
import ctypes, os, queue, select, signal, sys, threading, time
os.closerange(4, 1024)
libc = ctypes.CDLL(None, use_errno=True)
spare = os.open("/dev/null", os.O_RDONLY) # for a hole among the numbers
event = libc.eventfd(3, os.O_NONBLOCK | os.O_CLOEXEC)
epoll = select.epoll()
epoll.register(event, select.EPOLLIN)
os.close(spare)
big = list(range(200000))
asked, answered = queue.Queue(), queue.Queue()
def work():
    while True:
        answered.put(asked.get() * 2)
threading.Thread(target=work, daemon=True).start()
threading.Thread(target=lambda: time.sleep(1e6), daemon=True).start()
caught = []
signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
count = 0
for line in iter(sys.stdin.readline, ""):
    count += 1
    word = line.strip()
    if word == "signals":
        os.kill(os.getpid(), signal.SIGUSR1)
        said = caught, signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    elif word == "descriptors":
        said = epoll.poll(0), int.from_bytes(os.read(event, 8), "little"), epoll.poll(0)
    elif word == "socket":
        os.write(3, b"from the program")
        said = os.read(3, 100)
    elif word == "memory":
        more = threading.Thread(target=lambda: big.extend(range(200000)))
        more.start(); more.join()
        said = sum(big), len(bytearray(50 << 20))
    elif word == "threads":
        asked.put(21)
        said = answered.get(), threading.active_count(), len(os.listdir("/proc/self/task"))
    elif word == "programs":
        try:
            said = os.spawnlp(os.P_WAIT, "true", "true")
        except OSError as error:
            said = error.strerror
    elif word == "time":
        said = abs(time.time() - os.stat(sys.argv[1]).st_mtime) < 3600, time.monotonic() > 0
    else:
        said = count
    print(said, flush=True)
`

// program is a running program that answers lines.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func begin(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return p
}

func (p *program) want(word, answer string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, word+"\n"); err != nil {
		p.t.Fatal(word, err)
	}
	got, err := p.out.ReadString('\n')
	if got = strings.TrimSpace(got); err != nil || got != answer {
		p.t.Fatalf("%s: %q, %v; not %q", word, got, err, answer)
	}
}

// sockets gives the two ends of a socket, the second for a program.
func sockets(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// run starts the script.
func run(t *testing.T) (*program, []checkpoint.File) {
	t.Helper()
	_, theirs := sockets(t)
	file, err := checkpoint.Identify(theirs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-c", script, t.TempDir())
	cmd.ExtraFiles = []*os.File{theirs}
	return begin(t, cmd), []checkpoint.File{file}
}

// take makes a checkpoint of a program and ends it.
func take(t *testing.T, p *program, with checkpoint.Process) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	with.PID = p.cmd.Process.Pid
	if err := errors.Join(checkpoint.Take(t.Context(), with, f), f.Close()); err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	return path
}

// goOn executes a checkpoint.
func goOn(t *testing.T, path string) (*program, *os.File) {
	t.Helper()
	image, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if err := checkpoint.Fits(image); err != nil {
		t.Fatal(err)
	}
	ours, theirs := sockets(t)
	cmd := exec.Command(path)
	cmd.ExtraFiles = []*os.File{theirs, image}
	return begin(t, cmd), ours
}

func TestGoesOn(t *testing.T) {
	p, files := run(t)
	p.want("one", "1")
	p.want("two", "2")
	path := take(t, p, checkpoint.Process{Files: files})
	for range 3 { // One checkpoint is many processes, and none of them sees another.
		q, socket := goOn(t, path)
		q.want("three", "3")
		q.want("threads", "(42, 3, 3)")
		q.want("signals", "([10], True)")
		q.want("descriptors", "([(5, 1)], 3, [])")
		if _, err := io.WriteString(socket, "from outside"); err != nil {
			t.Fatal(err)
		}
		q.want("socket", "b'from outside'")
		said := make([]byte, 100)
		if n, err := socket.Read(said); err != nil || string(said[:n]) != "from the program" {
			t.Fatalf("the socket has %q, %v", said[:n], err)
		}
		q.want("memory", "(39999800000, 52428800)")
		q.want("programs", "0")
		q.want("time", "(True, True)")
		q.want("last", "11")
		q.in.Close()
		if err := q.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOfACheckpoint makes one of a process that goes on from one.
func TestOfACheckpoint(t *testing.T) {
	p, files := run(t)
	p.want("one", "1")
	q, _ := goOn(t, take(t, p, checkpoint.Process{Files: files}))
	q.want("two", "2")
	open, err := os.Stat(fmt.Sprintf("/proc/%d/fd/3", q.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := goOn(t, take(t, q, checkpoint.Process{Files: []checkpoint.File{checkpoint.FileOf(open)}}))
	again.want("threads", "(42, 3, 3)")
	again.want("four", "4")
}

func TestFilter(t *testing.T) {
	p, files := run(t)
	p.want("one", "1")
	filter, err := confine.Calls{Alone: true}.Program()
	if err != nil {
		t.Fatal(err)
	}
	q, _ := goOn(t, take(t, p, checkpoint.Process{Files: files, Filter: filter}))
	q.want("programs", "Operation not permitted")
	q.want("threads", "(42, 3, 3)")
}

func TestRefusals(t *testing.T) {
	p, files := run(t)
	p.want("one", "1")
	f, err := os.Create(filepath.Join(t.TempDir(), "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = checkpoint.Take(t.Context(), checkpoint.Process{PID: p.cmd.Process.Pid}, f)
	if !errors.Is(err, checkpoint.ErrUnsupported) || !strings.Contains(err.Error(), "socket:") {
		t.Errorf("a socket of its own: %v", err)
	}
	p.want("it goes on", "2") // since nothing was done to it
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := checkpoint.Take(done, checkpoint.Process{PID: p.cmd.Process.Pid, Files: files},
		f); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := checkpoint.Take(t.Context(), checkpoint.Process{PID: 1}, f); err == nil {
		t.Error("a process that is not ours to trace was taken")
	}
}

func TestFits(t *testing.T) {
	p, files := run(t)
	p.want("one", "1")
	whole, err := os.ReadFile(take(t, p, checkpoint.Process{Files: files}))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"another boot": []byte(strings.Replace(string(whole), string(boot[:30]),
			strings.Repeat("0", 30), 1)),
		"another program": []byte(strings.Replace(string(whole), `"inode":`, `"inode":1`, 1)),
		"cut off":         whole[:len(whole)-10],
		"empty":           nil,
		"short":           []byte("abc"),
	} {
		path := filepath.Join(t.TempDir(), "checkpoint")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if checkpoint.Fits(f) == nil {
			t.Errorf("%s: it is said to fit", name)
		}
		f.Close()
	}
}

// TestBroken executes a checkpoint without what it needs: it says so by its exit status, and does not hang.
func TestBroken(t *testing.T) {
	p, files := run(t)
	p.want("one", "1")
	path := take(t, p, checkpoint.Process{Files: files})
	err := exec.Command(path).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != int(syscall.EBADF) {
		t.Errorf("without its files it ends with %v", err)
	}
}

// busy computes in several threads, with what the processor has for floating point, and says what came out.
const busy = `
import hashlib, math, os, threading
os.closerange(3, 1024)
digests, sums = [b""] * 3, [0.0] * 3
def compute(i):
    for n in range(20000):
        digests[i] = hashlib.sha256(digests[i] + bytes([i]) * 3000).digest()
        sums[i] += math.sin(n) * math.sqrt(n + i)
threads = [threading.Thread(target=compute, args=(i,)) for i in range(3)]
for each in threads: each.start()
print("begun", flush=True)
for each in threads: each.join()
print(b"".join(digests).hex(), *map(repr, sums), flush=True)
`

// TestBusy takes checkpoints in the middle of anything: what goes on from there comes to the same.
func TestBusy(t *testing.T) {
	p := begin(t, exec.Command("python3", "-c", busy))
	if line, err := p.out.ReadString('\n'); err != nil || line != "begun\n" {
		t.Fatal(line, err)
	}
	var paths []string
	for range 3 { // The process goes on, too.
		path := filepath.Join(t.TempDir(), "checkpoint")
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		err = checkpoint.Take(t.Context(), checkpoint.Process{PID: p.cmd.Process.Pid}, f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	want, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		image, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path)
		cmd.ExtraFiles = []*os.File{image}
		q := begin(t, cmd)
		image.Close()
		if got, err := q.out.ReadString('\n'); err != nil || got != want {
			t.Errorf("%q, %v; not %q", got, err, want)
		}
	}
}
