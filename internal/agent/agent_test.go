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

// tree stands in for a cgroup: it ends all that descends from the test, orphans that the test adopts
// included.
type tree struct{}

func (tree) join(*syscall.SysProcAttr) {}
func (tree) started(int)               {}
func (tree) members() ([]int, error)   { return process.Descendants(os.Getpid()), nil }
func (tree) ranOut() bool              { return false }
func (tree) close()                    {}
func (tree) kill() error {
	process.EndTree(os.Getpid(), 5*time.Second)
	return nil
}

// guest is an agent that runs commands as processes of the test, and the host's side of it.
type guest struct {
	*Agent
	*link.Client
	t    *testing.T
	port *socket
}

// socket is a virtio port: it outlives its connections, and reads nothing while nobody is on the host's side.
type socket struct {
	mu      sync.Mutex
	changed sync.Cond
	conn    net.Conn
	over    bool
}

func newSocket() *socket {
	p := &socket{}
	p.changed.L = &p.mu
	return p
}

// plug puts another host in the place of the one before, which dies without a word.
func (p *socket) plug() net.Conn {
	host, conn := net.Pipe()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
	p.conn = conn
	p.changed.Broadcast()
	return host
}

// other gives the host's side once it is not the one that failed, nil when there will be none.
func (p *socket) other(failed net.Conn) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for (p.conn == failed) && !p.over {
		p.changed.Wait()
	}
	if p.over {
		return nil
	}
	return p.conn
}

func (p *socket) Read(b []byte) (int, error) {
	var failed net.Conn
	for {
		c := p.other(failed)
		if c == nil {
			return 0, io.EOF
		}
		if n, err := c.Read(b); n > 0 || err == nil {
			return n, nil
		}
		failed = c
	}
}

func (p *socket) Write(b []byte) (int, error) {
	var failed net.Conn
	for {
		c := p.other(failed)
		if c == nil {
			return 0, io.ErrClosedPipe
		}
		if _, err := c.Write(b); err == nil {
			return len(b), nil
		}
		failed = c
	}
}

func (p *socket) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.conn != nil {
		p.conn.Close()
	}
	p.changed.Broadcast()
	return nil
}

// start serves an agent that is set up.
func start(t *testing.T) *guest {
	t.Helper()
	g := bare(t)
	g.connect()
	entropy := make([]byte, leastEntropy)
	for _, err := range []error{
		g.Call(t.Context(), link.OpIdentify, link.Identify{Hostname: "inside", Entropy: entropy}, nil),
		g.Call(t.Context(), link.OpSetUp, link.SetUp{Env: []string{"FROM=set-up"}, WorkDir: t.TempDir()},
			nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// bare serves an agent that nobody has spoken to yet.
func bare(t *testing.T) *guest {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	upper, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	port := newSocket()
	a, err := Inside(upper, func() { port.Close() })
	if err != nil {
		t.Fatal(err)
	}
	a.group = func() (group, error) { return tree{}, nil }
	a.shell = func() string { return "/bin/sh" } // Bash would read the profile of whoever tests.
	var served sync.WaitGroup
	served.Go(func() { a.Serve(port) })
	t.Cleanup(func() {
		port.Close()
		served.Wait()
		process.EndTree(os.Getpid(), 5*time.Second)
		a.null.Close()
	})
	return &guest{Agent: a, t: t, port: port}
}

// connect takes the place of the connection before.
func (g *guest) connect() {
	g.t.Helper()
	conn, err := wire.Dial(g.port.plug(), wire.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	g.Client = link.NewGuestClient(conn)
	g.t.Cleanup(func() { conn.Close() })
}

func run(t *testing.T, c *guest, e link.Exec, stdin io.Reader) (r link.ExecResult, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	r, failure := c.Exec(t.Context(), e, link.Streams{Stdin: stdin, Stdout: &out, Stderr: &err})
	if failure != nil {
		t.Fatal(failure)
	}
	r.DurationMS, r.Shell = 0, ""
	return r, out.String(), err.String()
}

func TestExec(t *testing.T) {
	c := start(t)
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
		"environment": {link.Exec{Command: "echo $FROM $MORE $LANG $HOME", Env: []string{"MORE=exec"}}, nil,
			0,
			"set-up exec C.UTF-8 /root\n", ""},
		"directory": {link.Exec{Argv: []string{"pwd"}, WorkDir: "/usr"}, nil, 0, "/usr\n", ""},
		"not found": {link.Exec{Argv: []string{"no such"}}, nil, 127, "",
			"pyro: cannot run \"no such\": no such file or directory; a line for a shell needs one: " +
				"sh -c LINE\n"},
		"not executable": {link.Exec{Argv: []string{"/etc/passwd"}}, nil, 126, "",
			"pyro: cannot run \"/etc/passwd\": permission denied\n"},
		"background": {link.Exec{Command: "(sleep 60; echo never) & echo now"}, nil, 0, "now\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, stdout, stderr := run(t, c, x.exec, x.stdin)
			r.DiskFull = false
			if diff := cmp.Diff(link.ExecResult{ExitCode: x.code}, r); diff != "" || stdout != x.stdout ||
				stderr != x.stderr {
				t.Errorf("%q, %q %s", stdout, stderr, diff)
			}
		})
	}
	var e *link.Error
	if _, err := c.Exec(t.Context(), link.Exec{}, link.Streams{}); !errors.As(err, &e) ||
		e.Code != link.CodeInvalid {
		t.Errorf("no command: %v", err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestOutputOfAnyLength(t *testing.T) {
	c := start(t)
	_, stdout, _ := run(t, c, link.Exec{Command: "head -c 5000000 /dev/zero; printf end"}, nil)
	if len(stdout) != 5000003 || !strings.HasSuffix(stdout, "\x00end") {
		t.Errorf("%d bytes", len(stdout))
	}
}

func TestTimeoutEndsTheTree(t *testing.T) {
	c := start(t)
	r, _, _ := run(t, c, link.Exec{Command: "(setsid sleep 61 & ) ; sleep 62", TimeoutMS: 200}, nil)
	if r.ExitCode != 124 || !r.TimedOut {
		t.Errorf("%+v", r)
	}
	if left := process.Descendants(os.Getpid()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestBrokenInputIsNoEnd checks that a command whose caller dies does not take half of its input for all of
// it.
func TestBrokenInputIsNoEnd(t *testing.T) {
	c := start(t)
	done := filepath.Join(c.workDir, "done")
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
	g := bare(t)
	g.connect()
	refused := func(what string, err error, want link.Code) {
		t.Helper()
		var e *link.Error
		if !errors.As(err, &e) || e.Code != want {
			t.Errorf("%s: %v, not %s", what, err, want)
		}
	}
	call := func(op link.Op, p any) error { return g.Call(t.Context(), op, p, nil) }
	exec := func() error {
		_, err := g.Exec(t.Context(), link.Exec{Command: "true"}, link.Streams{})
		return err
	}
	entropy := make([]byte, leastEntropy)
	dir := t.TempDir()
	refused("unknown", call("grease", link.Empty{}), link.CodeUnsupported)
	refused("exec before all", exec(), link.CodeState)
	refused("identify without entropy", call(link.OpIdentify, link.Identify{}), link.CodeInvalid)
	refused("a directory that is none", call(link.OpSetUp, link.SetUp{WorkDir: "here"}), link.CodeInvalid)
	refused("a user who is none", call(link.OpSetUp, link.SetUp{User: "nobody at all"}), link.CodeInvalid)
	if err := call(link.OpSetUp, link.SetUp{WorkDir: dir}); err != nil {
		t.Fatal(err)
	}
	refused("a second set-up", call(link.OpSetUp, link.SetUp{WorkDir: dir}), link.CodeState)
	refused("exec before identify", exec(), link.CodeState)
	for range 2 {
		var is link.Identified
		if err := g.Call(t.Context(), link.OpIdentify, link.Identify{Entropy: entropy}, &is); err != nil ||
			len(is.BootID) != 36 {
			t.Errorf("identify: %+v, %v", is, err)
		}
	}
	if err := exec(); err != nil {
		t.Error(err)
	}
	for op, p := range map[link.Op]any{link.OpAttach: link.Attach{ID: "none"},
		link.OpSignal: link.Signal{ID: "none", Number: 1},
		link.OpResize: link.Resize{ID: "none"}} {
		refused(string(op)+" to nothing", call(op, p), link.CodeNotFound)
	}
	refused("no signal", call(link.OpSignal, link.Signal{ID: "none", Number: 99}), link.CodeInvalid)
}

func TestExport(t *testing.T) {
	c := start(t)
	root := c.upper.Name()
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
	want := []string{"0 etc/.wh.gone  ", "0 etc/kept  kept", "1 etc/linked etc/kept ", "2 etc/sym kept ",
		"5 etc/  ", "6 fifo  "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
