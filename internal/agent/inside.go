package agent

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"golang.org/x/sys/unix"
)

// Inside makes an agent that is no machine's first process, for tests: this process stands in for a guest,
// and commands are children of it that run as who it runs as. upper is where what differs from the base image
// would be, and the default working directory. powerOff is called when a shutdown was asked for.
func Inside(upper *os.Root, powerOff func()) (*Agent, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	var all families
	return &Agent{
		shell:    process.Shell,
		upper:    upper,
		null:     null,
		machine:  standIn{},
		start:    parent{},
		group:    all.make,
		quiet:    all.end,
		hold:     func(bool) error { return nil },
		powerOff: powerOff,
		root:     &account{name: "root", home: "/root"},
	}, nil
}

// standIn becomes nothing.
type standIn struct{}

func (standIn) become(link.Identify) (string, error) { return randomID() }
func (standIn) catchUp(int64) error                  { return nil }

// parent waits for the children that it started, and for no others.
type parent struct{}

func (parent) start(path string, argv []string, attr *syscall.ProcAttr) (*child, error) {
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	c := &child{pid: pid, ended: make(chan syscall.WaitStatus, 1), mu: &sync.Mutex{}}
	go c.await()
	return c, nil
}

// await waits for the child, and reaps it when nobody can be about to signal it.
func (c *child) await() {
	var info unix.Siginfo
	for errors.Is(unix.Waitid(unix.P_PID, c.pid, &info, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(c.pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	c.dead = true
	c.ended <- status
}

// families are the groups of commands where there are no cgroups.
type families struct {
	mu  sync.Mutex
	all map[*family]bool
}

func (f *families) make() (group, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[*family]bool{}
	}
	g := &family{all: f}
	f.all[g] = true
	return g, nil
}

func (f *families) end() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for g := range f.all {
		g.kill()
	}
	return nil
}

// family is a command and what descends from it.
type family struct {
	all *families
	pid int
}

func (g *family) join(*syscall.SysProcAttr) {}
func (g *family) started(pid int)           { g.pid = pid }
func (g *family) ranOut() bool              { return false }

func (g *family) members() ([]int, error) {
	return append(process.Descendants(g.pid), g.pid), nil
}

func (g *family) kill() error {
	if g.pid > 0 {
		process.EndTree(g.pid, time.Second)
		_ = syscall.Kill(-g.pid, syscall.SIGKILL)
	}
	return nil
}

func (g *family) close() {
	g.all.mu.Lock()
	defer g.all.mu.Unlock()
	delete(g.all.all, g)
}
