package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// reserve is the memory that commands together may not have, so that a hungry one dies in its own group and the
// agent lives to tell.
const reserve = 40 << 20

// groups makes the control group of each command. Killing the group kills all that the command started, whatever
// sessions and parents those have made themselves.
type groups struct {
	dir  string
	last atomic.Int64
}

func newGroups() (*groups, error) {
	const root = "/sys/fs/cgroup"
	g := &groups{dir: root + "/pyro"}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	for _, dir := range []string{root, g.dir} {
		if err := os.WriteFile(dir+"/cgroup.subtree_control", []byte("+memory +pids"), 0o644); err != nil {
			return nil, fmt.Errorf("cannot enable control groups: %w", err)
		}
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, err
	}
	if total := int64(info.Totalram) * int64(info.Unit); total > 2*reserve {
		return g, os.WriteFile(g.dir+"/memory.max", []byte(strconv.FormatInt(total-reserve, 10)), 0o644)
	}
	return g, nil
}

// group is one command's.
type group struct{ dir *os.File }

func (g *groups) make() (*group, error) {
	path := fmt.Sprintf("%s/%d", g.dir, g.last.Add(1))
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &group{dir}, nil
}

// kill ends everything in the group.
func (g *group) kill() error {
	return os.WriteFile(filepath.Join(g.dir.Name(), "cgroup.kill"), []byte("1"), 0o644)
}

// ranOut tells whether the kernel killed something of the group for memory.
func (g *group) ranOut() bool {
	events, err := os.ReadFile(filepath.Join(g.dir.Name(), "memory.events"))
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

// close lets go of the group, and removes it where nothing lives in it any more.
func (g *group) close() {
	_ = os.Remove(g.dir.Name()) // Fails where a background process lives on, which is its right.
	g.dir.Close()
}

// protect keeps the kernel from choosing the agent when memory is short.
func protect() {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0o644)
}
