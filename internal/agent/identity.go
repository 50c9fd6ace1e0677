package agent

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// realMachine is a guest that is one.
type realMachine struct {
	boxed   bool                     // its kernel is a program of the host's
	network func(link.Network) error // sets up the network device

	files   *identity // nil unless they were opened ahead, in a template
	covered bool      // the kernel's boot id is
	named   bool      // it has been a machine of its own before
}

// identity is where a machine's goes: the files by which machines are told apart. They are opened ahead if
// there is time for it: to copy them up from the base image and to find them blocks on the disk is most of
// the work, and the same in each clone.
type identity struct {
	hostname, hosts, machineID, bootID, generation, random *os.File
}

func (g *realMachine) become(p link.Identify) (string, error) {
	id, err := g.open()
	if err != nil {
		return "", err
	}
	if !g.boxed { // Such a guest has the host's clock and entropy.
		if err := setClock(p.ClockNS); err != nil {
			return "", err
		}
		if err := reseed(id.random, p.Entropy); err != nil {
			return "", err
		}
	}
	bootID, err := id.set(p, g.named)
	if err != nil {
		return "", err
	}
	if g.named {
		if err := sever(); err != nil {
			return "", err
		}
	}
	if p.Network != nil {
		if err := g.network(*p.Network); err != nil {
			return "", err
		}
	}
	id.close()
	g.files, g.named = nil, true
	return bootID, nil
}

// clockSlack is how far behind the host's the clock may be before a command.
const clockSlack = time.Second

// catchUp sets a clock that is behind, as it is when the host was suspended. One that is ahead stays: the
// message may have been on its way for as long as that.
func (g *realMachine) catchUp(hostNS int64) error {
	if g.boxed || !behind(time.Now().UnixNano(), hostNS) {
		return nil
	}
	return setClock(hostNS)
}

// behind tells whether a clock is too far behind the host's, which was not told of if it is 0.
func behind(ownNS, hostNS int64) bool { return hostNS > 0 && hostNS-ownNS > int64(clockSlack) }

func setClock(ns int64) error {
	now := unix.NsecToTimespec(ns)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return fmt.Errorf("cannot set the clock: %w", err)
	}
	return nil
}

// open makes the files writable in their places. The kernel's boot id was made before a guest is frozen and
// cannot be written: it is covered by a file.
func (g *realMachine) open() (_ *identity, err error) {
	const bootID, over = "/run/boot_id", "/proc/sys/kernel/random/boot_id"
	if g.files != nil {
		return g.files, nil
	}
	id := &identity{}
	defer func() {
		if err != nil {
			id.close()
		}
	}()
	if err := os.MkdirAll(filepath.Dir(link.GenerationFile), 0o755); err != nil {
		return nil, err
	}
	for _, each := range []struct {
		path string
		file **os.File
	}{
		{"/etc/hostname", &id.hostname}, {"/etc/hosts", &id.hosts}, {"/etc/machine-id", &id.machineID},
		{bootID, &id.bootID}, {link.GenerationFile, &id.generation}, {"/dev/urandom", &id.random},
	} {
		if *each.file, err = openOver(each.path); err != nil {
			return nil, err
		}
	}
	if !g.covered && !g.boxed {
		if err := unix.Mount(bootID, over, "", unix.MS_BIND, ""); err != nil {
			return nil, fmt.Errorf("cannot cover the boot id: %w", err)
		}
		g.covered = true
	}
	g.files = id
	return id, nil
}

// openOver opens a file for writing in the place of what an image may have there: nothing, a link, which may
// lead nowhere, a directory, or what would not be written to at once.
func openOver(path string) (*os.File, error) {
	const notWritten = os.ModeSymlink | os.ModeDir | os.ModeNamedPipe | os.ModeSocket
	if info, err := os.Lstat(path); err == nil && info.Mode()&notWritten != 0 {
		if err := os.RemoveAll(path); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
}

func (id *identity) close() {
	for _, f := range []*os.File{id.hostname, id.hosts, id.machineID, id.bootID, id.generation, id.random} {
		f.Close()
	}
}

// set gives the machine its names, and returns the boot's. A disk that bears the name already was this
// machine's before: what its commands wrote into these files stays. If the guest was another machine in
// this boot, only what names that one changes.
func (id *identity) set(p link.Identify, again bool) (string, error) {
	if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
		return "", fmt.Errorf("cannot set the host name: %w", err)
	}
	boot, err := randomID()
	if err != nil {
		return "", err
	}
	generation := p.MachineID + " " + strconv.FormatInt(p.Generation, 10) + "\n"
	if err := errors.Join(overwrite(id.bootID, boot+"\n"), overwrite(id.generation, generation)); err != nil {
		return "", err
	}
	known := make([]byte, 256)
	got, _ := id.hostname.ReadAt(known, 0)
	before := strings.TrimSpace(string(known[:got]))
	if before == p.Hostname {
		return boot, nil
	}
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t" + p.Hostname +
		"\n"
	if again {
		hosts = renamed(id.hosts, before, p.Hostname, hosts)
	}
	return boot, errors.Join(
		overwrite(id.machineID, p.MachineID+"\n"), overwrite(id.hosts, hosts),
		overwrite(id.hostname, p.Hostname+"\n"))
}

// renamed gives a hosts file with a name in place of another, or what it is to be instead if it cannot be
// read.
func renamed(hosts *os.File, before, now, otherwise string) string {
	const most = 1 << 20
	text := make([]byte, most)
	n, _ := hosts.ReadAt(text, 0)
	if n == 0 || n == most || before == "" {
		return otherwise
	}
	var out strings.Builder
	for line := range strings.Lines(string(text[:n])) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "127.0.1.1" &&
			fields[1] == before {
			line = "127.0.1.1\t" + now + "\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

// randomID is a UUID of version 4.
func randomID() (string, error) {
	var b [16]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	hex := hex.EncodeToString(b[:])
	return strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-"), nil
}

// overwrite makes content all that is in a file.
func overwrite(f *os.File, content string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > int64(len(content)) {
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	_, err = f.WriteAt([]byte(content), 0)
	return err
}

// reseed gives the kernel's generator the host's entropy and has it used at once: RNDADDENTROPY, then
// RNDRESEEDCRNG (random(4)).
func reseed(random *os.File, entropy []byte) error {
	const addEntropy, reseedCRNG = 0x40085203, 0x5207
	info := make([]byte, 8, 8+len(entropy))
	binary.NativeEndian.PutUint32(info, uint32(len(entropy)*8))
	binary.NativeEndian.PutUint32(info[4:], uint32(len(entropy)))
	info = append(info, entropy...)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, random.Fd(), addEntropy,
		uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
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
