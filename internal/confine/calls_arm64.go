package confine

import "golang.org/x/sys/unix"

const (
	auditArch      = unix.AUDIT_ARCH_AARCH64
	foreignNumbers = 1 << 31 // no second table
)

// deniedHere are denied on this architecture, which has them.
var deniedHere []uint32

// starting are the ones that start a program or a process, beside clone.
var starting = []uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT}

// timesHere are the ones of this architecture alone that set a file's times.
var timesHere []uint32

// opens has the system calls that open by a path, and where in their data the flags are.
func opens() map[uint32]uint32 {
	return map[uint32]uint32{unix.SYS_OPENAT: offsetArg0 + 16}
}
