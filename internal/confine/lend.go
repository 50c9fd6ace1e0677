package confine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A file is lent to a program that opens it by a path, for reading and writing, and that needs less: the
// program's open is stopped in the kernel, and answered by whoever started it with a file that is open
// already.

// Structures of the kernel's seccomp(2), with the sizes that it knows them by.
type (
	notification struct {
		id    uint64
		pid   uint32
		flags uint32
		data  [64]byte
	}
	notificationReply struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}
	notificationFile struct {
		id         uint64
		flags      uint32
		srcfd      uint32
		newfd      uint32
		newfdFlags uint32
	}
)

// largeFile is a flag of open that some C libraries always set, and that means nothing on 64 bits.
const largeFile = 0o100000

// lendFilter stops each open for reading and writing that makes nothing and leaves the file open for other
// programs, as only simple programs do.
func lendFilter() ([]bpf.RawInstruction, error) {
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		allow,
	}
	for call, flags := range opens() {
		program = append(program,
			bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipFalse: 5},
			bpf.LoadAbsolute{Off: flags, Size: 4},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ^uint32(largeFile)},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.O_RDWR, SkipTrue: 1},
			allow,
			bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF},
		)
	}
	return bpf.Assemble(append(program, allow))
}

// Borrow makes this thread, and the program that it becomes, ask for what it opens in this way. The file that
// it returns is for [Lend], and is to be closed in this process.
func Borrow() (*os.File, error) {
	raw, err := lendFilter()
	if err != nil {
		return nil, fmt.Errorf("cannot assemble the filter for a lent file: %w", err)
	}
	fd, err := install(code(raw), unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	if err != nil {
		return nil, fmt.Errorf("cannot ask for a lent file: %w", err)
	}
	return os.NewFile(uintptr(fd), "lent"), nil
}

// Lend answers the first such open with an open file, which stays the caller's, and returns. All later ones
// then fail in the kernel (ENOSYS). It returns early if the program ends, or with the context.
func Lend(ctx context.Context, listener, file *os.File) error {
	defer listener.Close()
	fd := int(listener.Fd())
	for {
		// The wait is cut up so that the end of the context is seen.
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int((20 * time.Millisecond).Milliseconds()))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.EINTR) || err == nil && n == 0:
			continue
		case err != nil:
			return err
		case ready[0].Revents&unix.POLLIN == 0:
			return nil // The program has ended.
		}
		var got notification
		if err := seccompIoctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&got)); err != nil {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
				continue // Whoever asked was interrupted.
			}
			return err
		}
		if err := lend(fd, got.id, file); !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
}

// lend gives the file to the one who waits, and its number as the answer.
func lend(listener int, id uint64, file *os.File) error {
	give := notificationFile{id: id, srcfd: uint32(file.Fd()), newfdFlags: unix.O_CLOEXEC}
	number, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_ADDFD,
		uintptr(unsafe.Pointer(&give)))
	reply := notificationReply{id: id, val: int64(number)}
	if errno != 0 {
		reply = notificationReply{id: id, error: -int32(unix.EACCES)}
	}
	err := seccompIoctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&reply))
	if errno != 0 {
		return errors.Join(errno, err)
	}
	return err
}

func seccompIoctl(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
