package confine

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Versions of Landlock from which on it can stand in for a namespace that the host refuses.
const (
	LandlockTruncates = 3 // before it, a file outside can be emptied
	LandlockScopes    = 6 // signals and abstract sockets stay inside
)

// LandlockVersion is the kernel's, 0 if it has none.
func LandlockVersion() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0,
		unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// firstFile is the first file descriptor after the standard streams.
const firstFile = 3

// KeepFiles makes sure that no file descriptor from number on, left open by whoever started pyro, reaches a
// program that this process becomes or starts; those before, but for the standard streams, neither.
func KeepFiles(number int) error {
	for fd := firstFile; fd < number; fd++ {
		unix.CloseOnExec(fd)
	}
	if unix.CloseRange(uint(number), ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot close inherited files: %w", err)
	}
	for _, each := range open {
		var fd int
		if _, err := fmt.Sscan(each.Name(), &fd); err == nil && fd >= number {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// CloseInherited closes the file descriptors from number on that whoever started this process has left open
// in it. Those that this process has opened itself since are marked to end with it, and are left alone.
func CloseInherited(number int) error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot close inherited files: %w", err)
	}
	for _, each := range open {
		var fd int
		if _, err := fmt.Sscan(each.Name(), &fd); err != nil || fd < number {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}

// Lower lowers a resource limit of this process, for good.
func Lower(resource int, to uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil {
		return fmt.Errorf("cannot read a resource limit: %w", err)
	}
	limit.Max = min(limit.Max, to)
	limit.Cur = min(limit.Cur, limit.Max)
	if err := unix.Setrlimit(resource, &limit); err != nil {
		return fmt.Errorf("cannot lower a resource limit: %w", err)
	}
	return nil
}
