package process

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFindAndRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("plain", "#!/bin/sh\n", 0o644)
	write("lost", "#!/nowhere/sh\n", 0o755)
	write("noise", "\x00\x01", 0o755)
	for _, c := range []struct {
		name, dir string
		code      int
		why       string
	}{
		{"plain", dir, ExitNotRunning, "\"plain\": permission denied"},
		{"absent", dir, ExitNotFound, "\"absent\": no such file or directory"},
		{"./absent", dir, ExitNotFound, "\"./absent\": no such file or directory"},
		{"echo absent", dir, ExitNotFound,
			"\"echo absent\": no such file or directory; a line for a shell needs one: sh -c LINE"},
		{"lost", dir, ExitNotFound, "\"lost\": its interpreter is missing"},
		{"./noise", dir, ExitNotRunning, "\"./noise\": not in a format that can be executed"},
		{"/usr", dir, ExitNotRunning, "\"/usr\": it is a directory"},
		{"/bin/true", "/nowhere", ExitNotRunning, "\"/nowhere\": no such working directory"},
	} {
		command := Command{Argv: []string{c.name}, Env: []string{"PATH=/nowhere:."}, Dir: c.dir}
		path, err := command.Find()
		if err == nil {
			_, err = syscall.ForkExec(path, command.Argv, &syscall.ProcAttr{Dir: c.dir})
		}
		code, line, ok := command.Refused(err)
		if want := "pyro: cannot run " + c.why + "\n"; !ok || code != c.code || line != want {
			t.Errorf("%s in %s: %v: %d %q, not %d %q", c.name, c.dir, err, code, line, c.code, want)
		}
	}
	if _, _, ok := (Command{Argv: []string{"x"}}).Refused(syscall.EAGAIN); ok {
		t.Error("a lack of processes is taken for the command's failure")
	}
}

func TestExitCode(t *testing.T) {
	for script, want := range map[string]int{"exit 7": 7, "kill -9 $$": 137, "kill -TERM $$": 143} {
		err := exec.Command("/bin/sh", "-c", script).Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%s: %v", script, err)
		}
		if got := ExitCode(exit.Sys().(syscall.WaitStatus)); got != want {
			t.Errorf("%s: %d, not %d", script, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got := Environment([]string{"A=1", "B=2"}, []string{"B=3", "junk", "=x", "C="})
	if s := strings.Join(got, " "); s != "A=1 B=3 C=" {
		t.Error(s)
	}
}

func TestOutputDoesNotWaitForTheBackground(t *testing.T) {
	var got bytes.Buffer
	out, end, err := NewOutput(&got)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "head -c 60000 /dev/zero; sleep 60 & echo; echo $!")
	cmd.Stdout = end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	end.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := out.End(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("End waited %v", took)
	}
	if n := got.Len(); n < 60003 {
		t.Errorf("%d bytes arrived", n)
	}
}

func TestInput(t *testing.T) {
	for given, wanted := range map[string]bool{"": false, "given": true} {
		child, parent, err := NewInput(wanted)
		if err != nil {
			t.Fatal(err)
		}
		if (parent != nil) != wanted {
			t.Errorf("wanted: %v, got %v", wanted, parent)
		}
		if wanted {
			if _, err := parent.WriteString(given); err != nil {
				t.Fatal(err)
			}
			parent.Close()
		}
		got, err := io.ReadAll(child)
		if err != nil || string(got) != given {
			t.Errorf("%q, %v", got, err)
		}
		child.Close()
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestOutputTellsTheWritersErrorAndReadsOn(t *testing.T) {
	out, end, err := NewOutput(&failing{after: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := end.Write(make([]byte, 300<<10)); err != nil {
		t.Fatal(err)
	}
	end.Close()
	if err := out.End(); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

func TestEndTreeReachesSessionsOfTheirOwn(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "(setsid sh -c 'sleep 60 & sleep 60') & echo; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if !EndTree(os.Getpid(), 5*time.Second) {
		t.Errorf("left: %v", Descendants(os.Getpid()))
	}
	_ = cmd.Wait()
}
