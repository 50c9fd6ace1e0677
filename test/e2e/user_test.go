package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/test/built"
)

// rootTests is how the names of the tests begin that only root can run.
const rootTests = "TestRoot"

// asUser runs the tests as most people would, if root runs them: as an ordinary user that is made for them,
// with directories of its own and the environment that root has pulled. It gives the exit status of theirs,
// and leaves the tests that only root can run to do.
func asUser() (status int) {
	flag.Parse()
	if os.Getenv(insideVariable) != "" {
		return 0 // Root is nobody there.
	}
	if os.Geteuid() != 0 {
		skip := flag.Lookup("test.skip").Value.String()
		must(flag.Set("test.skip", strings.TrimPrefix(skip+"|^"+rootTests, "|")))
		return 0
	}
	run := flag.Lookup("test.run").Value.String()
	if strings.Contains(run, rootTests) {
		return 0
	}
	status = runAs(newUser())
	if run != "" {
		os.Exit(status)
	}
	must(flag.Set("test.run", "^"+rootTests))
	return status
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// newUser gives a user whom nobody is, and who may use KVM if some may.
func newUser() *syscall.Credential {
	uid := 60999
	for ; ; uid-- {
		if _, err := user.LookupId(strconv.Itoa(uid)); err != nil {
			break
		}
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	if info, err := os.Stat("/dev/kvm"); err == nil && info.Mode()&0o060 == 0o060 {
		c.Groups = []uint32{info.Sys().(*syscall.Stat_t).Gid}
	}
	return c
}

// home is a place for a user: DIR/cache, DIR/home and DIR/t are theirs, all else is there to be read. It has
// a short name, since sockets have to have one.
func home(c *syscall.Credential) (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "u")
	must(err)
	must(os.Chmod(dir, 0o755))
	cache := os.Getenv("PYRO_CACHE_DIR")
	if cache == "" {
		above, err := os.UserCacheDir()
		must(err)
		cache = filepath.Join(above, "pyro")
	}
	for _, part := range []string{"environments", "images", "kernels", "initrds", "packages"} {
		must(lay(filepath.Join(cache, part), filepath.Join(dir, "cache", part), c))
	}
	for _, own := range []string{"home", "t", "cache"} {
		must(os.MkdirAll(filepath.Join(dir, own), 0o700))
		must(os.Chown(filepath.Join(dir, own), int(c.Uid), int(c.Gid)))
	}
	return dir, func() { must(os.RemoveAll(dir)) }
}

// lay gives the files of a tree other names, or copies them. The directories are the user's.
func lay(from, to string, c *syscall.Credential) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		rel, errRel := filepath.Rel(from, path)
		if err = errors.Join(err, errRel); err != nil {
			return err
		}
		there := filepath.Join(to, rel)
		switch {
		case d.IsDir() && d.Name() == "users": // the records of root's VMs
			return fs.SkipDir
		case d.IsDir():
			return errors.Join(os.MkdirAll(there, 0o755), os.Lchown(there, int(c.Uid), int(c.Gid)))
		case d.Type().IsRegular() && os.Link(path, there) != nil:
			return copyFile(path, there)
		}
		return nil
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// runAs runs this program's tests as a user, in a copy of what they read of the tree.
func runAs(c *syscall.Credential) int {
	dir, remove := home(c)
	defer remove()
	for _, part := range []string{"test/e2e", "docs", "python/src"} {
		must(lay(filepath.Join("../..", part), filepath.Join(dir, part), c))
	}
	must(os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	self, err := os.Executable()
	must(err)
	must(copyFile(self, filepath.Join(dir, "bin/e2e.test")))
	env := append(os.Environ(), "HOME="+dir+"/home", "XDG_CACHE_HOME=", "XDG_STATE_HOME=", "TMPDIR="+dir+"/t",
		"PYRO_CACHE_DIR="+dir+"/cache", "PYRO_STATE_DIR=")
	// The companion program is looked for beside pyro.
	pyro := built.Program()
	programs := map[string]string{"PYRO_BINARY": pyro, "PYRO_RUNSC": os.Getenv("PYRO_RUNSC")}
	if programs["PYRO_RUNSC"] == "" {
		programs["PYRO_RUNSC"] = filepath.Join(filepath.Dir(pyro), "pyro-runsc")
	}
	for variable, program := range programs {
		must(copyFile(program, filepath.Join(dir, "bin", filepath.Base(program))))
		env = append(env, variable+"="+filepath.Join(dir, "bin", filepath.Base(program)))
	}
	// Root's files of results are not theirs to write.
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool {
		return strings.Contains(arg, "test.testlogfile") || strings.Contains(arg, "test.gocoverdir")
	})
	fmt.Printf("as user %d:\n", c.Uid)
	cmd := exec.Command(filepath.Join(dir, "bin/e2e.test"), args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = filepath.Join(dir, "test/e2e"), env, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Println("as user:", err)
		return 1
	}
	return 0
}

// TestRootScripts is the main job as root, who becomes another user for QEMU.
func TestRootScripts(t *testing.T) {
	scripts(t, "testdata/run.txtar", "testdata/task.txtar")
}

// command is pyro as another user, with the directories that are given. Templates are virtual machines'.
func command(t *testing.T, c *syscall.Credential, cache, dir string, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("pyro")
	if err != nil {
		t.Fatal(err)
	}
	// The program of the tests lies in a directory of root's alone.
	reachable := filepath.Join(dir, "bin", "pyro")
	if _, err := os.Stat(reachable); err != nil {
		if err := errors.Join(os.MkdirAll(filepath.Dir(reachable), 0o755), copyFile(program,
			reachable)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), reachable, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir+"/home", "TMPDIR="+dir+"/t", "XDG_CACHE_HOME=",
		"XDG_STATE_HOME=", "PYRO_ISOLATION=vm", "PYRO_CACHE_DIR="+cache, "PYRO_STATE_DIR="+dir+"/home/state")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("as user %d: pyro %q: %v", c.Uid, args, err)
	}
	return out
}

// TestRootSharesItsCache has an administrator pull and warm, and two users run, who may only read the cache:
// each starts warm, and none can reach what is the other's.
func TestRootSharesItsCache(t *testing.T) {
	installed(t)
	first := newUser()
	second := &syscall.Credential{Uid: first.Uid - 1, Gid: first.Gid - 1, Groups: first.Groups}
	root := &syscall.Credential{}
	admin, remove := home(root)
	defer remove()
	cache := filepath.Join(admin, "cache")
	if err := os.Chmod(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, root, cache, admin, "env", "warm", "debian:12")
	var dirs []string
	for _, c := range []*syscall.Credential{first, second} {
		dir, err := os.MkdirTemp("", "u")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		dirs = append(dirs, dir)
		for _, own := range []string{"home", "t"} {
			if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, own), 0o700),
				os.Chown(filepath.Join(dir, own), int(c.Uid), int(c.Gid))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, c := range []*syscall.Credential{first, second} {
		var ran struct {
			Stdout string
			Warm   bool
		}
		decode(t, command(t, c, cache, dirs[i], "run", "debian:12", "--json", "--", "echo", "runs"), &ran)
		if !ran.Warm || ran.Stdout != "runs\n" {
			t.Errorf("user %d's run: %+v", c.Uid, ran)
		}
		for range 2 { // the first copies the template, since a task rests on files of its user's
			var task pyro.Task
			decode(t, command(t, c, cache, dirs[i], "task", "create", "debian:12", "--json"), &task)
			if !task.Warm || !strings.HasPrefix(task.VMMConfinement, "confined: files, network, processes") {
				t.Errorf("user %d's task: warm %v, %s", c.Uid, task.Warm, task.VMMConfinement)
			}
			command(t, c, cache, dirs[i], "task", "delete", task.TaskID)
		}
		command(t, c, cache, dirs[i], "env", "prune")
	}
	left, err := filepath.Glob(filepath.Join(cache, "templates", "*", "memory"))
	if err != nil || len(left) != 1 {
		t.Errorf("the shared templates are %v, %v", left, err)
	}
}

func decode(t *testing.T, document []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(document, into); err != nil {
		t.Fatalf("%s: %v", document, err)
	}
}
