package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/process"
	"golang.org/x/sys/unix"
)

// Where things stand in the initramfs, before the guest's own root is reached.
const (
	modulesDir = "/modules"
	baseDir    = "/base"
	scratchDir = "/scratch"
	newRoot    = "/newroot"
)

type mount struct {
	what, where, kind string
	flags             uintptr
	options           string
}

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// boot brings a guest up to where it waits for the host.
func boot() (*Agent, io.ReadWriteCloser, error) {
	err := mountAll([]mount{
		{"proc", "/proc", "proc", quiet, ""}, {"sysfs", "/sys", "sysfs", quiet, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	})
	if err != nil {
		return nil, nil, err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, nil, err
	}
	args := strings.Fields(string(cmdline))
	if err := loadModules(slices.Contains(args, link.CmdlineNetwork)); err != nil {
		return nil, nil, err
	}
	upper, err := mountRoot()
	if err != nil {
		return nil, nil, err
	}
	made, err := mountWorkspace()
	if err != nil {
		return nil, nil, err
	}
	if err := enterRoot(); err != nil {
		return nil, nil, err
	}
	if err := linkUp("lo"); err != nil {
		return nil, nil, err
	}
	g := &realMachine{network: configureNetwork}
	a, groups, err := newAgent(g, upper, made, 0)
	if err != nil {
		return nil, nil, err
	}
	a.powerOff = func() { unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }
	raiseLimits()
	if slices.Contains(args, link.CmdlineWarm) {
		if err := errors.Join(a.warm(g), groups.prepare()); err != nil {
			return nil, nil, err
		}
	}
	port, err := openPort("pyro.link")
	return a, port, err
}

// newAgent makes the agent of a guest whose root is entered. made tells that the workspace is the agent's,
// memory how many bytes the guest has, if its kernel does not know.
func newAgent(g *realMachine, upper *os.Root, made bool, memory int64) (*Agent, *cgroups, error) {
	groups, err := newCgroups(memory)
	if err != nil {
		return nil, nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	a := &Agent{
		shell:   process.Shell,
		upper:   upper,
		null:    null,
		machine: g,
		start:   newReaper(),
		group:   groups.make,
		quiet:   groups.killAll,
		hold:    groups.hold,
		made:    made,
	}
	return a, groups, nil
}

// haveDir makes a directory, in place of whatever else an image has there: a file, or a link that leads
// nowhere.
func haveDir(path string) error {
	for i := range path + "/" {
		above := path[:i]
		if i < len(path) && path[i] != '/' || above == "" {
			continue
		}
		if info, err := os.Stat(above); err == nil && info.IsDir() {
			continue
		}
		if err := os.Remove(above); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Mkdir(above, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// leadsToKernel removes a link that leads into the kernel's own file systems, where nothing can be made, and
// tells whether it did.
func leadsToKernel(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || !strings.HasPrefix(real+"/", "/proc/") && !strings.HasPrefix(real+"/", "/sys/") {
		return false
	}
	return os.Remove(path) == nil
}

// ownDir makes a directory at the root in place of whatever else an image has there, be it a link to a
// directory: what is mounted over it would cover where the link leads.
func ownDir(path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return haveDir(path)
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		have := haveDir
		if strings.LastIndexByte(m.where, '/') == 0 {
			have = ownDir
		}
		if err := have(m.where); err != nil {
			return fmt.Errorf("cannot make %q: %w", m.where, err)
		}
		if err := unix.Mount(m.what, m.where, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("cannot mount %q: %w", m.where, err)
		}
	}
	return nil
}

// loadModules loads the kernel's modules in the order that the host found, and frees the memory that they
// took. Those of a network device, a fifth of the work, are left out if there is none.
func loadModules(network bool) error {
	order, err := os.ReadFile(filepath.Join(modulesDir, "order"))
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(order)) {
		path := filepath.Join(modulesDir, name+".ko")
		if network || !slices.Contains([]string{"failover", "net_failover", "virtio_net"}, name) {
			if err := loadModule(path); err != nil {
				return fmt.Errorf("cannot load the module %q: %w", name, err)
			}
		}
		if err := unix.Unlink(path); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.FinitModule(fd, "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// disk finds a disk by the file system that it bears: serials and an order are not to be had of every VMM.
func disk(kind string) (string, error) {
	for range 200 {
		for _, name := range []string{"vda", "vdb"} {
			if fileSystem("/dev/"+name) == kind {
				return "/dev/" + name, nil
			}
		}
		time.Sleep(5 * time.Millisecond) // The devices are found while the modules settle.
	}
	return "", fmt.Errorf("there is no disk with the file system %q", kind)
}

// The file systems of a guest's two disks.
const (
	baseKind    = "erofs"
	scratchKind = "ext4"
)

// fileSystem tells what a disk bears, by the superblock that all of them have 1024 bytes from its
// beginning. It is empty if that is none that pyro makes, or cannot be read.
func fileSystem(device string) string {
	const at, ext4Magic = 1024, 56
	f, err := os.Open(device)
	if err != nil {
		return ""
	}
	defer f.Close()
	super := make([]byte, ext4Magic+2)
	if _, err := f.ReadAt(super, at); err != nil {
		return ""
	}
	switch {
	case binary.LittleEndian.Uint32(super) == 0xE0F5E1E2:
		return baseKind
	case binary.LittleEndian.Uint16(super[ext4Magic:]) == 0xEF53:
		return scratchKind
	}
	return ""
}

// mountRoot lays the scratch disk over the base image, and gives what will differ between them: whole files
// and directories in their places, as an image's layer wants them.
func mountRoot() (*os.Root, error) {
	base, err := disk(baseKind)
	if err != nil {
		return nil, err
	}
	scratch, err := disk(scratchKind)
	if err != nil {
		return nil, err
	}
	if err := mountAll([]mount{
		{base, baseDir, "erofs", unix.MS_RDONLY, ""},
		{scratch, scratchDir, "ext4", unix.MS_NOATIME, "noinit_itable,commit=30"},
	}); err != nil {
		return nil, err
	}
	if err := grow(scratch); err != nil {
		return nil, err
	}
	// With redirect_dir a directory of the image can be renamed, as npm and others do without a way to copy
	// it instead; the exporter knows what such a one is.
	return mountOverlay("redirect_dir=on,metacopy=off,")
}

// mountOverlay lays what will differ over the base image.
func mountOverlay(options string) (*os.Root, error) {
	for _, dir := range []string{"upper", "work"} {
		if err := os.MkdirAll(filepath.Join(scratchDir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	upper, err := os.OpenRoot(filepath.Join(scratchDir, "upper"))
	if err != nil {
		return nil, err
	}
	options += "lowerdir=" + baseDir + ",upperdir=" + scratchDir + "/upper,workdir=" + scratchDir + "/work"
	if err := mountAll([]mount{{"overlay", newRoot, "overlay", 0, options}}); err != nil {
		return nil, err
	}
	return upper, nil
}

// mountWorkspace gives the workspace the scratch disk itself: making a file there takes two thirds of the
// time that it takes in the overlay. If the image has something in its own, that stays. made tells that it
// is new and the agent's to give away: the image has none, or an empty one of root's.
func mountWorkspace() (made bool, err error) {
	const place, dir = newRoot + defaultWorkDir, scratchDir + defaultWorkDir
	info, err := os.Lstat(place)
	if err == nil && !info.IsDir() {
		return false, nil
	}
	if err != nil {
		if err := os.Mkdir(place, 0o755); err != nil {
			return false, err
		}
	}
	if inside, err := os.ReadDir(place); err != nil || len(inside) > 0 {
		return false, err
	}
	err = os.Mkdir(dir, 0o755)
	made = err == nil
	if made && info != nil {
		st := info.Sys().(*syscall.Stat_t)
		made = st.Uid == 0 && st.Gid == 0
		err = errors.Join(os.Chown(dir, int(st.Uid), int(st.Gid)), unix.Chmod(dir, st.Mode&0o7777))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	return made, mountAll([]mount{{dir, place, "", unix.MS_BIND, ""}})
}

// grow makes the scratch file system as large as its disk. The ioctl is EXT4_IOC_RESIZE_FS, which takes the
// number of blocks.
func grow(device string) error {
	const resize = 0x40086610
	const block = 4096
	d, err := os.Open(device)
	if err != nil {
		return err
	}
	defer d.Close()
	size, err := d.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	size -= link.SpoolSize
	var st unix.Statfs_t
	if err := unix.Statfs(scratchDir, &st); err != nil {
		return err
	}
	// What the journal and the tables take is not counted by statfs: a file system within a sixteenth of
	// its disk was grown.
	if int64(st.Blocks)*st.Bsize > size-size/16 {
		return nil
	}
	dir, err := os.Open(scratchDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	blocks := uint64(size / block)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), resize,
		uintptr(unsafe.Pointer(&blocks))); errno != 0 {
		return fmt.Errorf("cannot grow the disk to %d blocks: %w", blocks, errno)
	}
	return nil
}

// enterRoot makes the overlay the root, with all that a system expects to be mounted.
func enterRoot() error {
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := errors.Join(unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."),
		unix.Chdir("/")); err != nil {
		return fmt.Errorf("cannot enter the new root: %w", err)
	}
	// From here on the image's links lead where they do for its programs.
	if err := mountAll([]mount{
		{"proc", "/proc", "proc", quiet, ""}, {"sysfs", "/sys", "sysfs", quiet, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"mqueue", "/dev/mqueue", "mqueue", quiet, ""},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=20%"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", quiet, ""},
	}); err != nil {
		return err
	}
	unix.Umask(0o022)
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1",
		"stderr": "fd/2", "ptmx": "pts/ptmx"} {
		os.Remove("/dev/" + name)
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	for dir, mode := range map[string]os.FileMode{"/tmp": 0o1777, "/var/tmp": 0o1777, "/run/lock": 0o1777,
		"/etc": 0o755, "/root": 0o700} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && !leadsToKernel(dir) {
			continue
		}
		if err := haveDir(dir); err != nil {
			return err
		}
		if err := unix.Chmod(dir, uint32(mode)); err != nil {
			return err
		}
	}
	return nil
}
