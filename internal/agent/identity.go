package agent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// identity is where a machine's goes: the files by which machines are told apart, and who its commands are run by. All
// of it is opened ahead where there is time for it: to copy the files up from the base image and to find them blocks
// on the disk is most of the work, and the same in each clone.
type identity struct {
	hostname, hosts, machineID, bootID, random *os.File

	root account // who runs commands unless the host says otherwise
}

// openIdentity makes the files writable in their places. The kernel's boot id was made before a guest is frozen and
// cannot be written: it is covered by a file.
func openIdentity() (_ *identity, err error) {
	const bootID, over = "/run/boot_id", "/proc/sys/kernel/random/boot_id"
	id := &identity{}
	defer func() {
		if err != nil {
			id.close()
		}
	}()
	for _, each := range []struct {
		path string
		file **os.File
	}{
		{"/etc/hostname", &id.hostname}, {"/etc/hosts", &id.hosts}, {"/etc/machine-id", &id.machineID},
		{bootID, &id.bootID}, {"/dev/urandom", &id.random},
	} {
		if *each.file, err = openOver(each.path); err != nil {
			return nil, err
		}
	}
	if err := unix.Mount(bootID, over, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("cannot cover the boot id: %w", err)
	}
	id.root, err = lookUp("")
	return id, err
}

// openOver opens a file for writing in the place of what an image may have there: nothing, a link, which may lead
// nowhere, a directory, or what would not be written to at once.
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
	for _, f := range []*os.File{id.hostname, id.hosts, id.machineID, id.bootID, id.random} {
		f.Close()
	}
}

// set gives the machine its names, and returns the boot's. A disk that bears the name already was this machine's
// before: what its commands wrote into these files stays.
func (id *identity) set(c link.Configure) (string, error) {
	if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
		return "", fmt.Errorf("cannot set the host name: %w", err)
	}
	var b [16]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	hex := hex.EncodeToString(b[:])
	boot := strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
	if err := overwrite(id.bootID, boot+"\n"); err != nil {
		return "", err
	}
	known := make([]byte, len(c.Hostname)+2)
	if got, _ := id.hostname.ReadAt(known, 0); strings.TrimSpace(string(known[:got])) == c.Hostname {
		return boot, nil
	}
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t" + c.Hostname + "\n"
	return boot, errors.Join(
		overwrite(id.machineID, c.MachineID+"\n"), overwrite(id.hosts, hosts), overwrite(id.hostname, c.Hostname+"\n"))
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
