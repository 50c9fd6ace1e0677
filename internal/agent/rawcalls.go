package agent

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls for each file of a disk that is memory go past Go's scheduler, which takes the processor from a
// thread whose call lasts longer than 20 µs, as each does that ends in another process. None of these waits.

func rawOpenat(dir int, base string, flags int) (int, error) {
	name, err := unix.BytePtrFromString(base)
	if err != nil {
		return -1, err
	}
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(name)),
		uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
	return int(fd), failed(errno)
}

func rawFstat(fd int, st *unix.Stat_t) error {
	_, _, errno := unix.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(st)), 0)
	return failed(errno)
}

func rawPread(fd int, p []byte, at int64) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(at), 0, 0)
	return int(n), failed(errno)
}

func rawFlistxattr(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_FLISTXATTR, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), failed(errno)
}

func rawClose(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func failed(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
