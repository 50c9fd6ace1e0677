package confine

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs the filter on one call.
func verdict(t *testing.T, c Calls, arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	raw, err := c.filter()
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 4096 {
		t.Fatalf("%d instructions are too many for the kernel", len(raw))
	}
	program := make([]bpf.Instruction, len(raw))
	for i, each := range raw {
		program[i] = each.Disassemble()
	}
	machine, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	// The VM reads big-endian words, the kernel the machine's.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offsetNumber:], number)
	binary.BigEndian.PutUint32(data[offsetArch:], arch)
	for i, arg := range args {
		binary.BigEndian.PutUint32(data[offsetArg0+8*i:], uint32(arg))
	}
	got, err := machine.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

func TestFilter(t *testing.T) {
	const allow = uint32(unix.SECCOMP_RET_ALLOW)
	refused := func(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }
	all := Calls{Families: []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}}
	none := Calls{Denied: append(Spies(), Sharing()...)}
	for _, c := range []struct {
		name   string
		calls  Calls
		number uint32
		args   []uint64
		want   uint32
	}{
		{"read", all, unix.SYS_READ, nil, allow},
		{"mount", all, unix.SYS_MOUNT, nil, refused(unix.EPERM)},
		{"io_uring", all, unix.SYS_IO_URING_SETUP, nil, refused(unix.EPERM)},
		{"the last denied", all, denied[len(denied)-1], nil, refused(unix.EPERM)},
		{"clone3", all, unix.SYS_CLONE3, nil, refused(unix.ENOSYS)},
		{"fork", all, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, allow},
		{"thread", all, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND},
			allow},
		{"user namespace", all, unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)},
			refused(unix.EPERM)},
		{"ptrace of one's own", all, unix.SYS_PTRACE, nil, allow},
		{"ptrace of the user's", none, unix.SYS_PTRACE, nil, refused(unix.EPERM)},
		{"shared memory", none, unix.SYS_SHMGET, nil, refused(unix.EPERM)},
		{"unix socket", all, unix.SYS_SOCKET, []uint64{unix.AF_UNIX}, allow},
		{"inet socket", all, unix.SYS_SOCKET, []uint64{unix.AF_INET}, allow},
		{"vsock", all, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK}, refused(unix.EAFNOSUPPORT)},
		{"packet socket", all, unix.SYS_SOCKET, []uint64{unix.AF_PACKET}, refused(unix.EAFNOSUPPORT)},
		{"inet socket of the host", none, unix.SYS_SOCKET, []uint64{unix.AF_INET6},
			refused(unix.EAFNOSUPPORT)},
		{"unix socket of the host", none, unix.SYS_SOCKET, []uint64{unix.AF_UNIX},
			refused(unix.EAFNOSUPPORT)},
		{"terminal's input", all, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, refused(unix.EPERM)},
		{"terminal's size", all, unix.SYS_IOCTL, []uint64{0, unix.TIOCGWINSZ}, allow},
		{"the second table", all, foreignNumbers + 1, nil, refused(unix.ENOSYS)},
	} {
		if got := verdict(t, c.calls, auditArch, c.number, c.args...); got != c.want {
			t.Errorf("%s: %#x, not %#x", c.name, got, c.want)
		}
	}
	if got := verdict(t, all, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != unix.SECCOMP_RET_KILL_PROCESS {
		t.Errorf("another architecture: %#x", got)
	}
}
