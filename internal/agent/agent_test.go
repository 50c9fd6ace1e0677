package agent

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// reaping is the one reaper of the test's process: it waits for every child, whoever started it.
var reaping = newReaper()

// tree stands in for a control group where the test cannot have one: it ends all that descends from the test.
type tree struct{}

func (tree) join(*syscall.SysProcAttr) {}
func (tree) ranOut() bool              { return false }
func (tree) close()                    {}
func (tree) kill() error {
	process.EndTree(os.Getpid(), 5*time.Second)
	return nil
}

// guest serves an agent that runs commands as processes of the test, and gives a client of it.
func guest(t *testing.T) (*Agent, *link.Client) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	upper, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	a := &Agent{upper: upper, null: null, reaper: reaping, group: func() (group, error) { return tree{}, nil },
		configured: &account{name: "root", home: "/root"}, env: []string{"FROM=configure"}, workDir: t.TempDir()}
	host, port := net.Pipe()
	var served sync.WaitGroup
	served.Go(func() { a.serve(port) })
	conn, err := wire.Dial(host, wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		served.Wait()
		process.EndTree(os.Getpid(), 5*time.Second)
	})
	return a, link.NewClient(conn)
}

func run(t *testing.T, c *link.Client, e link.Exec, stdin io.Reader) (r link.ExecResult, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	r, failure := c.Exec(t.Context(), e, link.Streams{Stdin: stdin, Stdout: &out, Stderr: &err})
	if failure != nil {
		t.Fatal(failure)
	}
	r.DurationMS = 0
	return r, out.String(), err.String()
}

func TestExec(t *testing.T) {
	_, c := guest(t)
	binary := string([]byte{0, 255, '\n', 0xf0, 0x9f})
	for name, x := range map[string]struct {
		exec           link.Exec
		stdin          io.Reader
		code           int
		stdout, stderr string
	}{
		"both streams": {link.Exec{Command: "echo out; echo err >&2; exit 5"}, nil, 5, "out\n", "err\n"},
		"words":        {link.Exec{Argv: []string{"printf", "%s|", "a b", "", "'"}}, nil, 0, "a b||'|", ""},
		"bytes":        {link.Exec{Argv: []string{"cat"}}, strings.NewReader(binary), 0, binary, ""},
		"no input":     {link.Exec{Argv: []string{"cat"}}, nil, 0, "", ""},
		"unread input": {link.Exec{Argv: []string{"true"}}, endless{}, 0, "", ""},
		"signal":       {link.Exec{Command: "kill -TERM $$"}, nil, 143, "", ""},
		"environment": {link.Exec{Command: "echo $FROM $MORE $LANG $HOME", Env: []string{"MORE=exec"}}, nil, 0,
			"configure exec C.UTF-8 /root\n", ""},
		"directory": {link.Exec{Argv: []string{"pwd"}, WorkDir: "/usr"}, nil, 0, "/usr\n", ""},
		"not found": {link.Exec{Argv: []string{"no such"}}, nil, 127, "",
			"pyro: cannot run \"no such\": no such file or directory\n"},
		"not executable": {link.Exec{Argv: []string{"/etc/passwd"}}, nil, 126, "",
			"pyro: cannot run \"/etc/passwd\": permission denied\n"},
		"background": {link.Exec{Command: "(sleep 60; echo never) & echo now"}, nil, 0, "now\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, stdout, stderr := run(t, c, x.exec, x.stdin)
			r.DiskFull = false
			if diff := cmp.Diff(link.ExecResult{ExitCode: x.code}, r); diff != "" || stdout != x.stdout || stderr != x.stderr {
				t.Errorf("%q, %q %s", stdout, stderr, diff)
			}
		})
	}
	var e *link.Error
	if _, err := c.Exec(t.Context(), link.Exec{}, link.Streams{}); !errors.As(err, &e) || e.Code != link.CodeInvalid {
		t.Errorf("no command: %v", err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestOutputOfAnyLength(t *testing.T) {
	_, c := guest(t)
	_, stdout, _ := run(t, c, link.Exec{Command: "head -c 5000000 /dev/zero; printf end"}, nil)
	if len(stdout) != 5000003 || !strings.HasSuffix(stdout, "\x00end") {
		t.Errorf("%d bytes", len(stdout))
	}
}

func TestTimeoutEndsTheTree(t *testing.T) {
	_, c := guest(t)
	r, _, _ := run(t, c, link.Exec{Command: "(setsid sleep 61 & ) ; sleep 62", TimeoutMS: 200}, nil)
	if r.ExitCode != 124 || !r.TimedOut {
		t.Errorf("%+v", r)
	}
	if left := process.Descendants(os.Getpid()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestBrokenInputIsNoEnd checks that a command whose caller dies does not take half of its input for all of it.
func TestBrokenInputIsNoEnd(t *testing.T) {
	a, c := guest(t)
	done := filepath.Join(a.workDir, "done")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Exec(ctx, link.Exec{Command: "echo ready; cat > /dev/null; touch " + done},
		link.Streams{Stdin: endless{}, Stdout: onWrite(cancel)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	// The next command cannot start before the first one's end was seen: it waits for the tree.
	for len(process.Descendants(os.Getpid())) > 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := os.Stat(done); err == nil {
		t.Error("the command went on after half of its input")
	}
}

type onWrite func()

func (f onWrite) Write(b []byte) (int, error) { f(); return len(b), nil }

func TestUnknownAndEarly(t *testing.T) {
	a, c := guest(t)
	var e *link.Error
	if err := c.Call(t.Context(), "grease", link.Empty{}, nil); !errors.As(err, &e) || e.Code != link.CodeUnsupported {
		t.Errorf("unknown: %v", err)
	}
	if err := c.Call(t.Context(), link.OpConfigure, link.Configure{}, nil); !errors.As(err, &e) || e.Code != link.CodeState {
		t.Errorf("second configure: %v", err)
	}
	a.mu.Lock()
	a.configured = nil
	a.mu.Unlock()
	if _, err := c.Exec(t.Context(), link.Exec{Command: "true"}, link.Streams{}); !errors.As(err, &e) || e.Code != link.CodeState {
		t.Errorf("exec before configure: %v", err)
	}
}

func TestExport(t *testing.T) {
	a, c := guest(t)
	root := a.upper.Name()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "etc"), 0o750),
		os.WriteFile(filepath.Join(root, "etc/hostname"), []byte("mine"), 0o644),
		os.WriteFile(filepath.Join(root, "etc/kept"), []byte("kept"), 0o640),
		os.Link(filepath.Join(root, "etc/kept"), filepath.Join(root, "etc/linked")),
		os.Symlink("kept", filepath.Join(root, "etc/sym")),
		unix.Mknod(filepath.Join(root, "etc/gone"), unix.S_IFCHR, 0),
		unix.Mkfifo(filepath.Join(root, "fifo"), 0o600),
		unix.Mknod(filepath.Join(root, "socket"), unix.S_IFSOCK|0o600, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := c.Export(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join([]string{string(h.Typeflag), h.Name, h.Linkname, string(body)}, " "))
	}
	slices.Sort(got)
	want := []string{"0 etc/.wh.gone  ", "0 etc/kept  kept", "1 etc/linked etc/kept ", "2 etc/sym kept ", "5 etc/  ", "6 fifo  "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
