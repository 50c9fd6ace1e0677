package confine

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// denied are the system calls that nothing confined may make, whatever the host's namespaces give: those that
// change the host or the confinement, and those whose only use here would be to attack the kernel.
var denied = []uint32{
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE,
	unix.SYS_MOVE_MOUNT,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT,
	// opens files and sockets unseen by this filter
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, // keys belong to the user, in no namespace
	unix.SYS_CLOCK_SETTIME, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
	unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_NFSSERVCTL,
}

// Spies are the system calls that look into other processes, or change them.
func Spies() []uint32 {
	return []uint32{unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
		unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
		unix.SYS_PROCESS_MADVISE}
}

// Sharing are the system calls of System V and POSIX that make what other processes find by a key or a name.
func Sharing() []uint32 {
	return []uint32{unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_SEMGET, unix.SYS_MSGGET, unix.SYS_MQ_OPEN}
}

// Times are the system calls that set a file's times, by which a change of it could be hidden.
func Times() []uint32 { return append([]uint32{unix.SYS_UTIMENSAT}, timesHere...) }

// Calls says which system calls are refused beside those that always are.
type Calls struct {
	Denied   []uint32 // by their numbers
	Void     []uint32 // those that do nothing, and are told to have succeeded
	Families []uint32 // the kinds of socket that may be opened
	Alone    bool     // no program and no process may be started, threads alone
}

// newNamespaces are the flags of clone that would make a namespace; clone3 keeps its flags if a filter
// cannot see them and is therefore absent altogether, which the C libraries take as an old kernel.
const newNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Offsets in struct seccomp_data, and of the low half of an argument on the little-endian machines that we
// know.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArg0   = 16
	offsetArg1   = 24
)

// filter is the program that refuses them. It is a pure function.
func (c Calls) filter() ([]bpf.RawInstruction, error) {
	refuse := func(errno unix.Errno) bpf.Instruction {
		return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	}
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	number := bpf.LoadAbsolute{Off: offsetNumber, Size: 4}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		// another system call table, where the numbers mean other things
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		number,
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: foreignNumbers, SkipTrue: 1},
		refuse(unix.ENOSYS),
	}
	for _, call := range slices.Concat(denied, deniedHere, c.Denied) {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipFalse: 1},
			refuse(unix.EPERM))
	}
	for _, call := range c.Void {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipFalse: 1}, refuse(0))
	}
	if c.Alone {
		for _, call := range starting {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipFalse: 1},
				refuse(unix.EPERM))
		}
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_CLONE, SkipFalse: 4},
			bpf.LoadAbsolute{Off: offsetArg0, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.CLONE_THREAD, SkipTrue: 1}, refuse(unix.EPERM),
			number)
	}
	program = append(program,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_CLONE3, SkipFalse: 1}, refuse(unix.ENOSYS),

		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_CLONE, SkipFalse: 4},
		bpf.LoadAbsolute{Off: offsetArg0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: newNamespaces, SkipFalse: 1}, refuse(unix.EPERM), allow,

		// Pushing characters into a terminal's input would run them outside.
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_IOCTL, SkipFalse: 5},
		bpf.LoadAbsolute{Off: offsetArg1, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.TIOCSTI, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: tioclinux, SkipFalse: 1}, refuse(unix.EPERM), allow,
	)
	program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_SOCKET,
		SkipFalse: uint8(2*len(c.Families) + 2)},
		bpf.LoadAbsolute{Off: offsetArg0, Size: 4})
	for _, family := range c.Families {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: family, SkipFalse: 1}, allow)
	}
	program = append(program, refuse(unix.EAFNOSUPPORT), allow)
	return bpf.Assemble(program)
}

const tioclinux = 0x541c

// Restrict puts the filter on all threads of this process, for good. It needs no privileges once no_new_privs
// is set.
func (c Calls) Restrict() error {
	program, err := c.Program()
	if err != nil {
		return err
	}
	if _, err := install(program, unix.SECCOMP_FILTER_FLAG_TSYNC); err != nil {
		return fmt.Errorf("cannot filter system calls: %w", err)
	}
	return nil
}

// Program is the filter for who puts it on by other means.
func (c Calls) Program() ([]unix.SockFilter, error) {
	raw, err := c.filter()
	if err != nil {
		return nil, fmt.Errorf("cannot assemble the system call filter: %w", err)
	}
	return code(raw), nil
}

// code is a filter as the kernel takes it.
func code(raw []bpf.RawInstruction) []unix.SockFilter {
	all := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		all[i] = unix.SockFilter{
			Code: in.Op,
			Jt:   in.Jt,
			Jf:   in.Jf,
			K:    in.K,
		}
	}
	return all
}

// install puts a filter on this thread, or as the flags say, and returns what the kernel does.
func install(filter []unix.SockFilter, flags uintptr) (int, error) {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	got, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags,
		uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}
