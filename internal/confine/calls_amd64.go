package confine

import "golang.org/x/sys/unix"

const (
	auditArch      = unix.AUDIT_ARCH_X86_64
	foreignNumbers = 0x40000000 // of the x32 table
)

// deniedHere are denied on this architecture, which has them.
var deniedHere = []uint32{unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB,
	unix.SYS__SYSCTL}

// starting are the ones that start a program or a process, beside clone.
var starting = []uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_FORK, unix.SYS_VFORK}

// timesHere are the ones of this architecture alone that set a file's times.
var timesHere = []uint32{unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT}

// opens has the system calls that open by a path, and where in their data the flags are.
func opens() map[uint32]uint32 {
	return map[uint32]uint32{unix.SYS_OPENAT: offsetArg0 + 16, unix.SYS_OPEN: offsetArg0 + 8}
}
