package agent

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// starter starts processes and waits for them.
type starter interface {
	start(path string, argv []string, attr *syscall.ProcAttr) (*child, error)
}

// child is a process that was started.
type child struct {
	pid   int
	ended chan syscall.WaitStatus // gets the one status

	mu   *sync.Mutex // held by who reaps it: until then its number is nobody else's
	dead bool
}

// signal sends a signal to a process group if the child still lives: 0 is the child's own.
func (c *child) signal(group int, s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return os.ErrProcessDone
	}
	if group == 0 {
		group = c.pid
	}
	return syscall.Kill(-group, s)
}

// reaper waits for every child there is, those that orphans became included, and tells whoever started one.
type reaper struct {
	mu      sync.Mutex
	waiting map[int]*child
}

// newReaper starts reaping, for good.
func newReaper() *reaper {
	r := &reaper{waiting: map[int]*child{}}
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	// Nobody ends the first process: who signals it means all there are, and those in other kernels too (a
	// gVisor guest's gets what its host's processes get). Unlike ignored ones, they are the commands' to
	// have.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM,
		unix.SIGUSR1, unix.SIGUSR2)
	go func() {
		for range died {
			r.reap()
		}
	}()
	return r
}

// start starts a process. No child is reaped meanwhile, so that none is missed.
func (r *reaper) start(path string, argv []string, attr *syscall.ProcAttr) (*child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	c := &child{pid: pid, ended: make(chan syscall.WaitStatus, 1), mu: &r.mu}
	r.waiting[pid] = c
	return c, nil
}

func (r *reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if !status.Exited() && !status.Signaled() {
			continue
		}
		if c := r.waiting[pid]; c != nil {
			delete(r.waiting, pid)
			c.dead = true
			c.ended <- status
		}
	}
}
