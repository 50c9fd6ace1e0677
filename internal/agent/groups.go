package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// reserve is the memory that commands together may not have, so that a hungry one dies in its own group and
// the agent lives to tell.
const reserve = 40 << 20

// group holds one command and all that it starts.
type group interface {
	// join has a process that is about to start begin in the group.
	join(*syscall.SysProcAttr)
	// started is told the process that has begun in it.
	started(pid int)
	// kill ends everything in the group, whatever sessions and parents that has made itself.
	kill() error
	// ranOut tells whether the kernel killed something of the group for memory.
	ranOut() bool
	// close lets go of the group. A background process that lives on in it does so by right.
	close()
}

// populated is a group that knows its processes. Of another one's commands it is not known whether they read.
type populated interface {
	members() ([]int, error)
}

// cgroups makes groups that are cgroups.
type cgroups struct {
	dir string

	mu    sync.Mutex
	last  int
	left  []string        // groups that something lived on in when they were closed
	spare group           // made ahead, nil if there is none
	over  map[string]bool // groups that were ended for their memory by watch
}

// A total of 0 is the memory that there is.
func newCgroups(total int64) (*cgroups, error) {
	const root = "/sys/fs/cgroup"
	g := &cgroups{dir: root + "/pyro"}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	for _, dir := range []string{root, g.dir} {
		if err := os.WriteFile(dir+"/cgroup.subtree_control", []byte("+memory +pids"), 0o644); err != nil {
			return nil, fmt.Errorf("cannot enable cgroups: %w", err)
		}
	}
	return g, g.limit(total)
}

// mostThreads is how many threads there may be, if the kernel does not say.
const mostThreads = 1 << 15

// limit keeps memory and threads for the agent: without either it dies, and the guest with it.
func (g *cgroups) limit(total int64) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	if total == 0 {
		total = int64(info.Totalram) * int64(info.Unit)
	}
	if total > 2*reserve {
		if err := os.WriteFile(g.dir+"/memory.max", []byte(strconv.FormatInt(total-reserve, 10)),
			0o644); err != nil {
			return err
		}
	}
	threads := mostThreads
	text, err := os.ReadFile("/proc/sys/kernel/threads-max")
	if err == nil {
		threads, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(g.dir+"/pids.max", []byte(strconv.Itoa(threads/2)), 0o644)
}

// prepare makes the next group ahead.
func (g *cgroups) prepare() error {
	spare, err := g.make()
	g.spare = spare
	return err
}

func (g *cgroups) make() (group, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if spare := g.spare; spare != nil {
		g.spare = nil
		return spare, nil
	}
	g.left = slices.DeleteFunc(g.left, func(path string) bool { return os.Remove(path) == nil })
	g.last++
	path := g.dir + "/" + strconv.Itoa(g.last)
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &cgroup{all: g, dir: dir}, nil
}

// killAll ends every command.
func (g *cgroups) killAll() error {
	return os.WriteFile(g.dir+"/cgroup.kill", []byte("1"), 0o644)
}

// cgroup is one command's.
type cgroup struct {
	all *cgroups
	dir *os.File
}

func (g *cgroup) join(attr *syscall.SysProcAttr) {
	attr.UseCgroupFD, attr.CgroupFD = true, int(g.dir.Fd())
}

func (g *cgroup) started(int) {}

func (g *cgroup) kill() error {
	return os.WriteFile(g.dir.Name()+"/cgroup.kill", []byte("1"), 0o644)
}

func (g *cgroup) members() ([]int, error) {
	text, err := os.ReadFile(g.dir.Name() + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(line); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func (g *cgroup) ranOut() bool {
	g.all.mu.Lock()
	over := g.all.over[g.dir.Name()]
	g.all.mu.Unlock()
	if over {
		return true
	}
	events, err := os.ReadFile(g.dir.Name() + "/memory.events")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(events)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(n) != "0"
		}
	}
	return false
}

func (g *cgroup) close() {
	g.dir.Close()
	g.all.mu.Lock()
	defer g.all.mu.Unlock()
	delete(g.all.over, g.dir.Name())
	if os.Remove(g.dir.Name()) == nil {
		return
	}
	g.all.left = append(g.all.left, g.dir.Name())
}

// raiseLimits lets commands open as many files as on a Debian host: the kernel's limit for its first process
// is lower. The agent needs no protection from the kernel's hunt for memory, which spares the first process,
// and must not ask for any: commands would inherit it.
func raiseLimits() {
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 4096, Max: 1 << 20})
}
