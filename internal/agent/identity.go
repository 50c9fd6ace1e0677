package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

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
	if err := reseed(c.Entropy); err != nil {
		return nil, err
	}
	bootID, err := nameMachine(c)
	if err != nil {
		return nil, err
	}
	if c.Network != nil {
		if err := configureNetwork(*c.Network); err != nil {
			return nil, err
		}
	}
	who, err := lookUp(c.User)
	if err != nil {
		return nil, &link.Error{Code: link.CodeInvalid, Message: err.Error()}
	}
	a.workDir = c.WorkDir
	if a.workDir == "" {
		a.workDir = "/workspace"
	}
	if err := makeWorkDir(a.workDir, who); err != nil {
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
func reseed(entropy []byte) error {
	const addEntropy, reseedCRNG = 0x40085203, 0x5207
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info := make([]byte, 8, 8+len(entropy))
	binary.NativeEndian.PutUint32(info, uint32(len(entropy)*8))
	binary.NativeEndian.PutUint32(info[4:], uint32(len(entropy)))
	info = append(info, entropy...)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), addEntropy, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return fmt.Errorf("cannot add entropy: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), reseedCRNG, 0); errno != 0 {
		return fmt.Errorf("cannot reseed the kernel: %w", errno)
	}
	return nil
}

// nameMachine sets all the names by which machines are told apart, and gives the boot's.
func nameMachine(c link.Configure) (string, error) {
	if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
		return "", fmt.Errorf("cannot set the host name: %w", err)
	}
	hosts := "127.0.0.1\tlocalhost\n127.0.1.1\t" + c.Hostname + "\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	err := errors.Join(
		writeFile("/etc/hostname", c.Hostname+"\n"), writeFile("/etc/hosts", hosts), writeFile("/etc/machine-id", c.MachineID+"\n"))
	if err != nil {
		return "", err
	}
	// The kernel's own boot id was made before the guest was frozen and cannot be written: it is covered.
	var b [16]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	id := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	const file, over = "/run/boot_id", "/proc/sys/kernel/random/boot_id"
	if err := os.WriteFile(file, []byte(id+"\n"), 0o444); err != nil {
		return "", err
	}
	if err := unix.Mount(file, over, "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("cannot cover the boot id: %w", err)
	}
	return id, nil
}

// writeFile replaces a file, which may be a link that leads nowhere.
func writeFile(path, content string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return nil
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

func makeWorkDir(dir string, who account) error {
	if !strings.HasPrefix(dir, "/") {
		return &link.Error{Code: link.CodeInvalid, Message: fmt.Sprintf("the working directory %q is not absolute", dir)}
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the working directory: %w", err)
	}
	return os.Chown(dir, int(who.uid), int(who.gid))
}
