// Package e2e runs the program on real guests, as a person would. The test binary is pyro. It wants QEMU and
// an installed debian:12 in the user's cache (make test sees to both): without them it fails, and does not
// skip.
package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/cli"
	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/test/built"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	status := 0
	if filepath.Base(os.Args[0]) != "pyro" {
		built.Program() // the agent is in the test binary only if it was built before
		status = asUser()
	}
	testscript.Main(both{m, status}, map[string]func(){
		"pyro": func() { os.Exit(cli.Main("1.2.3-test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// both are the tests of another process, and of this one.
type both struct {
	*testing.M
	status int
}

// Run gives a status that is 0 if all tests have passed.
func (b both) Run() int { return max(b.status, b.M.Run()) }

// cacheDir is the cache that all tests of this machine share.
func cacheDir(t testing.TB) string {
	if dir := os.Getenv("PYRO_CACHE_DIR"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "pyro")
}

// installed wants debian:12 to be there: a test must not spend its time on a pull.
func installed(t testing.TB) {
	cmd := exec.CommandContext(t.Context(), "pyro", "env", "list", "--json")
	cmd.Env = append(os.Environ(), "PYRO_CACHE_DIR="+cacheDir(t))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var list pyro.ListEnvironmentsResult
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Environments {
		if e.Name == "debian:12" && e.Installed {
			return
		}
	}
	t.Fatal("debian:12 is not installed: run 'pyro env pull debian:12' first")
}

// mirrorOf is where an environment's packages came from: the one server of the world outside that is known to
// answer.
func mirrorOf(t testing.TB, name string) *url.URL {
	manifest, err := environment.Open(cacheDir(t)).Get(name)
	if err != nil {
		t.Fatal(err)
	}
	mirror, err := url.Parse(manifest.Mirror)
	if err != nil || mirror.Hostname() == "" {
		t.Fatalf("the mirror of %s is %q: %v", name, manifest.Mirror, err)
	}
	return mirror
}

func TestScripts(t *testing.T) { scripts(t) }

// scripts runs files of scripts, or all.
func scripts(t *testing.T, files ...string) {
	installed(t)
	dir := ""
	if len(files) == 0 {
		dir = "testdata"
	}
	cache := cacheDir(t)
	mirror := mirrorOf(t, "debian:12")
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Files:               files,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PYRO_CACHE_DIR", cache)
			e.Setenv("PYRO_STATE_DIR", e.WorkDir+"/state")
			e.Setenv("MIRROR", mirror.String())
			e.Setenv("MIRROR_HOST", mirror.Hostname())
			for _, name := range []string{
				"PYRO_ACCELERATOR", "PYRO_DEBIAN_MIRROR", "PYRO_ISOLATION", "PYRO_RUNSC",
			} {
				e.Setenv(name, os.Getenv(name))
			}
			if os.Getenv("PYRO_RUNSC") == "" { // The test binary is pyro, and stands alone.
				e.Setenv("PYRO_RUNSC", filepath.Join(filepath.Dir(built.Program()), "pyro-runsc"))
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "gvisor" {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			return os.Getenv("PYRO_ISOLATION") == name, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status, "alive": alive},
	})
}

// status N COMMAND... runs a command and wants its exit status.
func status(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// alive N wants N VMs and tasks in the state directory.
func alive(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("pyro", "task", "list", "--json"))
	var list struct{ VMs, Tasks []any }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
	if got := strconv.Itoa(len(list.VMs) + len(list.Tasks)); got != args[0] {
		ts.Fatalf("%s VMs and tasks live, want %s", got, args[0])
	}
}

// Ctrl-C and SIGTERM end the VM, and give 130 and 143.
func TestSignals(t *testing.T) {
	installed(t)
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(signal.String(), func(t *testing.T) {
			state := t.TempDir()
			cmd := exec.CommandContext(t.Context(), "pyro", "run", "debian:12", "--timeout-seconds", "300",
				"--", "sh", "-c", "echo begun; exec sleep 300")
			cmd.Env = append(os.Environ(), "PYRO_STATE_DIR="+state, "PYRO_CACHE_DIR="+cacheDir(t))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// Its first output says that the command runs.
			line := make([]byte, len("begun\n"))
			if _, err := out.Read(line); err != nil {
				t.Fatalf("no output: %v %s", err, stderr.String())
			}
			sent := time.Now()
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("exit status %d, want %d: %s", got, want, stderr.String())
			}
			if passed := time.Since(sent); passed > 5*time.Second {
				t.Errorf("it took %v to end", passed)
			}
			list := exec.CommandContext(t.Context(), "pyro", "task", "list", "--json")
			list.Env = cmd.Env
			if data, err := list.Output(); err != nil || bytes.Contains(data, []byte("vm_id")) {
				t.Errorf("left behind: %s %v", data, err)
			}
		})
	}
}
