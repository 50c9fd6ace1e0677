package qemu

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/socketpair"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// files are those that are open only until QEMU has them.
type files []*os.File

func (f *files) close() {
	for _, file := range *f {
		file.Close()
	}
	*f = nil
}

// resolve names what QEMU opens by path as it is named in the end: confined, QEMU sees the files themselves
// and not the links that lead to them, as from a cache directory that is a link.
func resolve(spec vmm.Spec) (vmm.Spec, error) {
	for _, path := range []*string{&spec.Kernel, &spec.Initrd} {
		real, err := filepath.EvalSymlinks(*path)
		if err != nil {
			return spec, err
		}
		*path = real
	}
	if spec.Memory == nil {
		return spec, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(spec.Memory.Path)) // the file itself may not be there yet
	if err != nil {
		return spec, err
	}
	memory := *spec.Memory
	memory.Path = filepath.Join(dir, filepath.Base(memory.Path))
	spec.Memory = &memory
	return spec, nil
}

// open opens what a spec has by path, and gives the incoming state an offset of its own. QEMU takes a disk
// only if it is open for just what it is used for.
func (f *files) open(spec vmm.Spec) (vmm.Spec, error) {
	disks := make([]vmm.Disk, len(spec.Disks))
	for i, disk := range spec.Disks {
		mode := os.O_RDWR
		if disk.ReadOnly {
			mode = os.O_RDONLY
		}
		path := disk.Path
		if disk.File != nil {
			path = reopen(disk.File)
		}
		if disk.File == nil || accessMode(disk.File) != mode {
			file, err := os.OpenFile(path, mode, 0)
			if err != nil {
				return spec, fmt.Errorf("cannot open disk %s: %w", disk.ID, err)
			}
			*f = append(*f, file)
			disk.File = file
		}
		disks[i] = disk
	}
	spec.Disks = disks
	if spec.Incoming != nil {
		file, err := os.Open(reopen(spec.Incoming))
		if err != nil {
			return spec, err
		}
		*f = append(*f, file)
		spec.Incoming = file
	}
	return spec, nil
}

// accessMode is what a file is open for.
func accessMode(file *os.File) int {
	flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return -1
	}
	return flags & unix.O_ACCMODE
}

// connect makes the QMP connection and the link. The parent's ends are not of f: the machine takes them over.
func (f *files) connect() (parent, child ends, err error) {
	for _, each := range []struct {
		parent, child **os.File
		name          string
		flags         int
	}{{&parent.qmp, &child.qmp, "qmp", 0}, {&parent.link, &child.link, "link", unix.SOCK_NONBLOCK}} {
		*each.parent, *each.child, err = socketpair.Files(each.name, unix.SOCK_STREAM|each.flags)
		if err != nil {
			parent.close()
			return ends{}, ends{}, err
		}
		*f = append(*f, *each.child)
	}
	return parent, child, nil
}

// reopen is the path that opens a file once more, deleted or not.
func reopen(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }
