package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// defaultWorkDir is where commands run.
const defaultWorkDir = "/workspace"

// configure makes this guest a machine of its own, once. A clone knows nothing of its template's others after it.
func (a *Agent) configure(c link.Configure) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.configured != nil {
		return nil, &link.Error{Code: link.CodeState, Message: "the guest is configured already"}
	}
	if len(c.Entropy) < 32 {
		return nil, &link.Error{Code: link.CodeInvalid, Message: "the host sent too little entropy"}
	}
	now := unix.NsecToTimespec(c.ClockNS)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return nil, fmt.Errorf("cannot set the clock: %w", err)
	}
	id, err := a.open()
	if err != nil {
		return nil, err
	}
	if err := reseed(id.random, c.Entropy); err != nil {
		return nil, err
	}
	bootID, err := id.set(c)
	if err != nil {
		return nil, err
	}
	if c.Network != nil {
		if err := configureNetwork(*c.Network); err != nil {
			return nil, err
		}
	}
	who := id.root
	if c.User != "" {
		if who, err = lookUp(c.User); err != nil {
			return nil, &link.Error{Code: link.CodeInvalid, Message: err.Error()}
		}
	}
	id.close()
	a.workDir = c.WorkDir
	if a.workDir == "" {
		a.workDir = defaultWorkDir
	}
	if err := a.makeWorkDir(who); err != nil {
		return nil, err
	}
	a.env, a.configured = c.Env, &who
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	return link.Configured{Kernel: unix.ByteSliceToString(u.Release[:]), BootID: bootID}, nil
}

// reseed gives the kernel's generator the host's entropy and has it used at once: RNDADDENTROPY, then RNDRESEEDCRNG
// (random(4)).
func reseed(random *os.File, entropy []byte) error {
	const addEntropy, reseedCRNG = 0x40085203, 0x5207
	info := make([]byte, 8, 8+len(entropy))
	binary.NativeEndian.PutUint32(info, uint32(len(entropy)*8))
	binary.NativeEndian.PutUint32(info[4:], uint32(len(entropy)))
	info = append(info, entropy...)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, random.Fd(), addEntropy, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return fmt.Errorf("cannot add entropy: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, random.Fd(), reseedCRNG, 0); errno != 0 {
		return fmt.Errorf("cannot reseed the kernel: %w", errno)
	}
	return nil
}

// writeFile replaces a file, which may be a link that leads nowhere.
func writeFile(path, content string) error {
	if holds(path, content) {
		return nil
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// holds tells whether a file has this content.
func holds(path, content string) bool {
	f, err := openRegular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	old, err := io.ReadAll(io.LimitReader(f, int64(len(content))+1))
	return err == nil && string(old) == content
}

// open makes the places that a machine's identity goes to. It is done ahead where there is time for it.
func (a *Agent) open() (_ *identity, err error) {
	if a.identity == nil {
		a.identity, err = openIdentity()
	}
	return a.identity, err
}

// makeWorkDir makes the working directory of the user's, unless the environment has brought one.
func (a *Agent) makeWorkDir(who account) error {
	dir := a.workDir
	if !strings.HasPrefix(dir, "/") {
		return &link.Error{Code: link.CodeInvalid, Message: fmt.Sprintf("the working directory %q is not absolute", dir)}
	}
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make the working directory: %w", err)
		}
		a.madeWorkDir = dir
	}
	if a.madeWorkDir != dir || who.uid == 0 && who.gid == 0 {
		return nil
	}
	return os.Chown(dir, int(who.uid), int(who.gid))
}
