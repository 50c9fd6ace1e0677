package checkpoint

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// script answers each line with what it knows: from its memory, from another thread, from an event descriptor.
const script = `
import os, sys, threading, queue, time
os.closerange(3, 1024)
known = {"n": 0, "big": list(range(100000))}
asked, answered = queue.Queue(), queue.Queue()
def work():
    while True:
        answered.put(asked.get() * 2)
threading.Thread(target=work, daemon=True).start()
def idle():
    time.sleep(1e6)
threading.Thread(target=idle, daemon=True).start()
for line in iter(sys.stdin.readline, ""):
    known["n"] += 1
    asked.put(known["n"])
    print(line.strip(), known["n"], answered.get(), sum(known["big"]), 0.5 * known["n"], int(time.time() > 1e9), flush=True)
`

type program1 struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func begin(t *testing.T, cmd *exec.Cmd) program1 {
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
	return program1{cmd, in, bufio.NewReader(out)}
}

func (p program1) ask(t *testing.T, line string) string {
	t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	got, err := p.out.ReadString('\n')
	if err != nil {
		p.in.Close()
		t.Fatal(err, p.cmd.Wait())
	}
	return got
}

func TestGoesOn(t *testing.T) {
	p := begin(t, exec.Command("python3", "-c", script))
	t.Log(p.ask(t, "one"))
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if err := Take(context.Background(), Process{PID: p.cmd.Process.Pid}, f); err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Signal(syscall.SIGKILL)
	f.Close()
	for range 3 {
		image, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Fits(image); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path)
		cmd.ExtraFiles = []*os.File{image}
		q := begin(t, cmd)
		t.Log(q.ask(t, "two"))
		t.Log(q.ask(t, "three"))
		q.in.Close()
		t.Log(q.cmd.Wait())
	}
}
