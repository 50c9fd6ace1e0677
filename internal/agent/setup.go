package agent

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// defaultWorkDir is where commands run.
const defaultWorkDir = link.Workspace

// leastEntropy is what a machine must be sent, in bytes.
const leastEntropy = 32

// machine is what a guest can become anew.
type machine interface {
	// become makes the guest a machine of its own, and gives the id of its boot. It can be called again: a
	// fork is another machine than the one that it was forked from.
	become(link.Identify) (bootID string, err error)
	// catchUp sets the clock if it is behind the host's, as that was when a message was sent.
	catchUp(hostNS int64) error
}

// identify makes this guest a machine of its own. A clone knows nothing of its template's others after it.
func (a *Agent) identify(p link.Identify) (any, error) {
	if len(p.Entropy) < leastEntropy {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "the host sent too little entropy"}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	bootID, err := a.machine.become(p)
	if err != nil {
		return nil, err
	}
	a.identified = true
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	return link.Identified{Kernel: unix.ByteSliceToString(u.Release[:]), BootID: bootID}, nil
}

// setUp does the work of once a boot.
func (a *Agent) setUp(p link.SetUp) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.who != nil {
		return nil, &link.Error{Code: link.CodeState, Message: "the guest is set up already"}
	}
	dir := p.WorkDir
	if dir == "" {
		dir = defaultWorkDir
	}
	if !strings.HasPrefix(dir, "/") {
		return nil, &link.Error{Code: link.CodeInvalid,
			Message: fmt.Sprintf("the working directory %q is not absolute", dir)}
	}
	who, err := a.account(p.User)
	if err != nil {
		return nil, err
	}
	if err := a.makeWorkDir(dir, who); err != nil {
		return nil, err
	}
	if p.Trust != "" {
		known, err := trust("/", p.Trust)
		if err != nil {
			return nil, err
		}
		p.Env = slices.Concat(known, p.Env)
	}
	a.workDir, a.env, a.who = dir, p.Env, &who
	return link.Empty{}, nil
}

// account looks up who is to run commands. The caller holds mu.
func (a *Agent) account(user string) (account, error) {
	if user != "" {
		who, err := lookUp(user)
		if err != nil {
			return account{}, &link.Error{Code: link.CodeInvalid, Message: err.Error()}
		}
		return who, nil
	}
	if a.root == nil {
		root, err := lookUp("")
		if err != nil {
			return account{}, err
		}
		a.root = &root
	}
	return *a.root, nil
}

// makeWorkDir makes the working directory of the user's, and a new workspace too. What the environment has
// brought stays whose it is.
func (a *Agent) makeWorkDir(dir string, who account) error {
	var mine []string
	if a.made {
		mine = append(mine, defaultWorkDir)
	}
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make the working directory: %w", err)
		}
		mine = append(mine, dir)
	}
	if who.uid == 0 && who.gid == 0 {
		return nil
	}
	for _, dir := range mine {
		if err := os.Chown(dir, int(who.uid), int(who.gid)); err != nil {
			return err
		}
	}
	return nil
}
