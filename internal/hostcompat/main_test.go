package hostcompat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"github.com/pyro-mcp/pyro/internal/wire"
	"github.com/pyro-mcp/pyro/test/ended"
)

// What the test binary is to be, besides a test.
const (
	envRole = "HOSTCOMPAT_TEST_ROLE"
	envDir  = "HOSTCOMPAT_TEST_DIR"

	roleInner  = "inner"  // runs the tests again, as somebody else
	roleBare   = "bare"   // the same, if the kernel grants no namespaces
	roleFenced = "fenced" // the same as root, if the kernel grants no user namespace
	roleParent = "parent" // holds a guest until it is killed
)

// TestMain makes the test binary the pyro that is re-executed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		os.Exit(Main(os.Args[2:]))
	}
	switch os.Getenv(envRole) {
	case roleParent:
		os.Exit(holdGuest())
	case roleBare, roleFenced:
		if err := refuseNamespaces(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// refuseNamespaces makes this process one that may have no user namespace, and only the capabilities that go
// with being root.
func refuseNamespaces() error {
	runtime.LockOSThread()
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	if err := os.Setenv(envRole, roleInner); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// TestAsOthers runs all tests again as those who may do less.
func TestAsOthers(t *testing.T) {
	if os.Getenv(envRole) != "" {
		return
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = confine.Nobody, confine.Nobody
	}
	others := map[string]*syscall.SysProcAttr{
		roleBare: {
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}},
			AmbientCaps: []uintptr{unix.CAP_SYS_RESOURCE},
		},
	}
	if os.Getuid() == 0 {
		all := []syscall.SysProcIDMap{{Size: confine.Nobody + 1}}
		others[roleFenced] = &syscall.SysProcAttr{
			Cloneflags:                 unix.CLONE_NEWUSER,
			UidMappings:                all,
			GidMappings:                all,
			GidMappingsEnableSetgroups: true,
		}
		others[roleInner] = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: confine.Nobody,
			Gid: confine.Nobody}}
		others[roleBare].Credential = &syscall.Credential{Uid: confine.Nobody, Gid: confine.Nobody}
		others[roleBare].GidMappingsEnableSetgroups = true
	}
	for role, attr := range others {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.v")
			if role == roleFenced {
				cmd.Args = append(cmd.Args, "-test.run=Confined|Useful|Timeout|Outlives|Seed")
			}
			cmd.Env = append(os.Environ(), envRole+"="+role)
			cmd.SysProcAttr = attr
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil || !bytes.Contains(out, []byte("--- PASS: TestConfined")) {
				t.Errorf("as %s: %v", role, err)
			}
		})
	}
}

// vm is a guest that is asked over the link as a supervisor would.
type vm struct {
	*Guest
	*link.Client
	dir string
}

func startVM(t *testing.T) *vm {
	t.Helper()
	dir := t.TempDir()
	v, err := newVM(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Kill(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func newVM(ctx context.Context, dir string) (*vm, error) {
	g, err := Start(ctx, Config{Dir: dir, Hostname: "standin"})
	if err != nil {
		return nil, err
	}
	conn, err := wire.Dial(g.Conn(), wire.Options{})
	if err != nil {
		return nil, errors.Join(err, g.Kill())
	}
	v := &vm{g, link.NewClient(conn), dir}
	if err := v.Call(ctx, link.OpIdentify, link.Identify{Hostname: "standin"}, nil); err != nil {
		return v, err
	}
	return v, v.Call(ctx, link.OpSetUp, link.SetUp{Env: []string{"FROM=image", "HOME=/root"}}, nil)
}

// sh runs a command line and gives both outputs, and the exit status.
func (v *vm) sh(t *testing.T, line string) (stdout, stderr string, code int) {
	t.Helper()
	stdout, stderr, result := v.exec(t, link.Exec{Command: line, TimeoutMS: 20_000}, "")
	return stdout, stderr, result.ExitCode
}

func (v *vm) exec(t *testing.T, e link.Exec, stdin string) (stdout, stderr string, result link.ExecResult) {
	t.Helper()
	var out, err bytes.Buffer
	streams := link.Streams{Stdout: &out, Stderr: &err}
	if stdin != "" {
		streams.Stdin = strings.NewReader(stdin)
	}
	result, failure := v.Exec(t.Context(), e, streams)
	if failure != nil {
		t.Fatalf("%s: %v", e.Line(), failure)
	}
	return out.String(), err.String(), result
}

// processes are those that live in the guest, the shim not counted.
func (v *vm) processes() []int { return process.Descendants(v.cmd.Process.Pid) }

// noMore wants all processes gone but those that may stay. A keeper takes a moment to end after its command.
func (v *vm) noMore(t *testing.T, stay []int) {
	t.Helper()
	for _, pid := range v.processes() {
		if !slices.Contains(stay, pid) {
			ended.Wait(t, pid, 10*time.Second)
		}
	}
}

// confines tells what the guest's report says of a thing.
func (v *vm) confines(t *testing.T, name string) bool {
	t.Helper()
	for _, line := range v.Report() {
		if line.Name == name {
			return line.Confined
		}
	}
	t.Fatalf("the report has no line %q", name)
	return false
}

// holdGuest is the parent that will be killed: it says what lives, and waits.
func holdGuest() int {
	v, err := newVM(context.Background(), os.Getenv(envDir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := v.Exec(context.Background(),
		link.Exec{Command: "setsid sh -c 'sleep 61 & sleep 62' & setsid sleep 63 & :"},
		link.Streams{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(v.cmd.Process.Pid, strings.Trim(fmt.Sprint(v.processes()), "[]"))
	select {}
}

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(content), 0o666),
		os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	return path
}
