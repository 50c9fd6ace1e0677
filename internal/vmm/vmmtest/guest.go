package vmmtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// KernelVariable names the environment variable for the directory of the kernel that guests boot: a Debian
// kernel package, unpacked. Without it the package is fetched once, with apt-get, into the user's cache.
const KernelVariable = "PYRO_TEST_KERNEL"

// InitVariable names the environment variable for the guest's init, built from the command in the folder
// guest, if there is no Go to build it with.
const InitVariable = "PYRO_TEST_INIT"

// Guest is a guest that speaks the suite's words: see the command in the folder guest.
type Guest struct {
	Kernel string // the path of its kernel
	Initrd string // the path of its initramfs
}

// modules are loaded by the guest in this order. A kernel that has one built in does not have the file.
func modules() []string {
	return []string{
		"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_mmio",
		"drivers/block/virtio_blk",
		"drivers/char/virtio_console", "net/core/failover", "drivers/net/net_failover",
		"drivers/net/virtio_net",
	}
}

// NewGuest finds a kernel and builds the initramfs for it. If there is no kernel and none can be had the
// test fails.
func NewGuest(t testing.TB) Guest {
	t.Helper()
	dir, err := kernelDir()
	if err != nil {
		t.Fatalf("no kernel to boot: %v\nset %s to a directory that has an unpacked linux-image package", err,
			KernelVariable)
	}
	kernel, err := one(dir, "boot/vmlinuz*")
	if err != nil {
		t.Fatal(err)
	}
	guest := Guest{Kernel: kernel, Initrd: filepath.Join(t.TempDir(), "initrd")}
	image, err := packInitrd(t, dir)
	if err == nil {
		err = os.WriteFile(guest.Initrd, image, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return guest
}

// kernelDir is the directory of an unpacked kernel package.
func kernelDir() (string, error) {
	if dir := os.Getenv(KernelVariable); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "pyro-test")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kernel-"+runtime.GOARCH)
	if _, err := one(dir, "boot/vmlinuz*"); err == nil {
		return dir, nil
	}
	return dir, fetchKernel(cache, dir)
}

// fetchKernel gets the package that Debian's cloud kernel is at present, checked by apt.
func fetchKernel(cache, dir string) error {
	out, err := exec.Command("apt-cache", "depends", "linux-image-cloud-"+runtime.GOARCH).Output()
	if err != nil {
		return fmt.Errorf("apt-cache depends: %w", err)
	}
	name := regexp.MustCompile(`Depends: (linux-image-[a-z0-9.+-]+)`).FindSubmatch(out)
	if name == nil {
		return errors.New("apt knows no cloud kernel: run apt-get update")
	}
	work, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	get := exec.Command("apt-get", "download", string(name[1]))
	get.Dir = work
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get download: %w: %s", err, bytes.TrimSpace(out))
	}
	archive, err := one(work, "*.deb")
	if err != nil {
		return err
	}
	unpacked := filepath.Join(work, "unpacked")
	if out, err := exec.Command("dpkg-deb", "-x", archive, unpacked).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w: %s", err, bytes.TrimSpace(out))
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(unpacked, dir)
}

// one is the one file that matches.
func one(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d files match %s in %s", len(found), pattern, dir)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// buildInit gives the path of the guest's init.
func buildInit(t testing.TB) (string, error) {
	if path := os.Getenv(InitVariable); path != "" {
		return path, nil
	}
	program := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program,
		"github.com/pyro-mcp/pyro/internal/vmm/vmmtest/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest's init: %w: %s", err, out)
	}
	return program, nil
}

// packInitrd builds the guest's init and packs it with the modules.
func packInitrd(t testing.TB, dir string) ([]byte, error) {
	program, err := buildInit(t)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var image initrd
	image.add("dev", unix.S_IFDIR|0o755, nil, 0, 0)
	image.add("dev/console", unix.S_IFCHR|0o600, nil, 5, 1)
	image.add("init", unix.S_IFREG|0o755, data, 0, 0)
	image.add("modules", unix.S_IFDIR|0o755, nil, 0, 0)
	for i, name := range modules() {
		path, err := one(dir, "lib/modules/*/kernel/"+name+".ko")
		if err != nil {
			continue // built in
		}
		if data, err = os.ReadFile(path); err != nil {
			return nil, err
		}
		image.add(fmt.Sprintf("modules/%02d.ko", i), unix.S_IFREG|0o644, data, 0, 0)
	}
	image.add("TRAILER!!!", 0, nil, 0, 0)
	return image.Bytes(), nil
}

// initrd is a cpio archive of the kind that kernels unpack.
type initrd struct {
	bytes.Buffer
	inode int
}

func (i *initrd) add(name string, mode fs.FileMode, data []byte, major, minor int) {
	i.inode++
	i.WriteString("070701")
	for _, field := range []int{i.inode, int(mode), 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1,
		0} {
		fmt.Fprintf(i, "%08X", field)
	}
	i.WriteString(name + "\x00")
	i.pad()
	i.Write(data)
	i.pad()
}

func (i *initrd) pad() { i.Write(make([]byte, -i.Len()&3)) }
