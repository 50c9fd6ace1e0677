package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of the kernel's include/uapi/linux/ptrace.h and elf.h, prctl.h.
const (
	ptraceGetSigmask = 0x420a
	ptraceGetRseq    = 0x420f
	noteXstate       = 0x202
	getTIDAddress    = 40 // of prctl
)

// Errors by which the kernel says that it would begin a system call anew, were the thread to go on.
const (
	restartSys       = -512
	restartNoIntr    = -513
	restartNoHand    = -514
	restartWithBlock = -516
)

// thread is one thread of the process, as it is to go on.
type thread struct {
	id       int
	name     string
	regs     unix.PtraceRegs
	vector   []byte // the floating point and vector registers, as XSAVE writes them
	blocked  uint64 // signals
	cleared  uint64 // the address that the kernel clears when the thread ends
	robust   uint64 // the list of locks that the kernel frees when the thread ends
	robustN  uint64
	sequence rseq
}

// rseq is a thread's area for restartable sequences, as the kernel tells it.
type rseq struct {
	Pointer   uint64
	Size      uint32
	Signature uint32
	Flags     uint32
	_         uint32
}

// stop stops all threads of a process, the first one first, and gives those that it traces, which are to be
// let go by letGo whatever comes. The calling thread must be locked.
func stop(ctx context.Context, pid int) (ids []int, err error) {
	for { // Those that run make others.
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return ids, err
		}
		before := len(ids)
		for _, e := range entries {
			id, err := strconv.Atoi(e.Name())
			if err != nil {
				return ids, err
			}
			if slices.Contains(ids, id) {
				continue
			}
			if err := unix.PtraceSeize(id); errors.Is(err, unix.ESRCH) {
				continue // It has ended.
			} else if err != nil {
				return ids, unsupported("it may not be traced: %v", err)
			}
			ids = append(ids, id)
			if err := errors.Join(unix.PtraceInterrupt(id), stopped(id), ctx.Err()); err != nil {
				return ids, err
			}
		}
		if len(ids) == before {
			break
		}
	}
	if len(ids) == 0 || ids[0] != pid {
		return ids, unsupported("its first thread has ended")
	}
	return ids, nil
}

// letGo lets threads go on that are stopped, or that are about to.
func letGo(ids []int) {
	for _, id := range ids {
		if unix.PtraceDetach(id) != nil && stopped(id) == nil {
			_ = unix.PtraceDetach(id)
		}
	}
}

// stopLimit bounds the wait for a thread to stop.
const stopLimit = 5 * time.Second

// stopped waits until a traced thread has stopped.
func stopped(id int) error {
	for begun := time.Now(); ; time.Sleep(20 * time.Microsecond) {
		var status unix.WaitStatus
		got, err := unix.Wait4(id, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case got == id && status.Stopped():
			return nil
		case got == id:
			return unix.ESRCH
		case time.Since(begun) > stopLimit:
			return unsupported("a thread of it does not stop")
		}
	}
}

// tracee makes system calls in the name of a stopped thread.
type tracee struct {
	pid  int
	code uint64 // the address of an instruction for them
	mem  *os.File
}

// call makes one, and puts the thread's registers back.
func (t tracee) call(id int, regs unix.PtraceRegs, number uintptr, args ...uint64) (uint64, error) {
	with := regs
	var six [6]uint64
	copy(six[:], args)
	with.Rip, with.Rax, with.Orig_rax = t.code, uint64(number), ^uint64(0)
	with.Rdi, with.Rsi, with.Rdx, with.R10, with.R8, with.R9 = six[0], six[1], six[2], six[3], six[4], six[5]
	if err := unix.PtraceSetRegs(id, &with); err != nil {
		return 0, err
	}
	for range 2 { // at its entry, and at its end
		if err := unix.PtraceSyscall(id, 0); err != nil {
			return 0, err
		}
		if err := stopped(id); err != nil {
			return 0, err
		}
	}
	if err := unix.PtraceGetRegs(id, &with); err != nil {
		return 0, err
	}
	if err := unix.PtraceSetRegs(id, &regs); err != nil {
		return 0, err
	}
	if errno := -int64(with.Rax); errno > 0 && errno < pageSize {
		return 0, unsupported("system call %d fails in it: %v", number, unix.Errno(errno))
	}
	return with.Rax, nil
}

// scratch is where a thread's stack has room for what a call answers.
func scratch(regs unix.PtraceRegs) uint64 { return (regs.Rsp - 1024) &^ 63 }

// newTracee finds an instruction for system calls in the kernel's own code in the process.
func newTracee(pid int, all []region) (tracee, error) {
	t := tracee{pid: pid}
	var err error
	if t.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", pid)); err != nil {
		return t, err
	}
	for _, r := range all {
		if r.name != "[vdso]" {
			continue
		}
		code := make([]byte, r.size())
		if _, err := t.mem.ReadAt(code, int64(r.start)); err != nil {
			return t, errors.Join(err, t.mem.Close())
		}
		if at := bytes.Index(code, []byte{0x0f, 0x05}); at >= 0 {
			t.code = r.start + uint64(at)
			return t, nil
		}
	}
	return t, errors.Join(unsupported("it has no code of the kernel's"), t.mem.Close())
}

// inspect finds out how a stopped thread is to go on.
func (t tracee) inspect(id int) (h thread, err error) {
	h.id = id
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", t.pid, id))
	if err != nil {
		return h, err
	}
	h.name = string(bytes.TrimSpace(name))
	if err := unix.PtraceGetRegs(id, &h.regs); err != nil {
		return h, err
	}
	h.vector = make([]byte, 16<<10)
	vector := unix.Iovec{Base: &h.vector[0]}
	vector.SetLen(len(h.vector))
	length := uintptr(unsafe.Pointer(&vector))
	if err := ptrace(unix.PTRACE_GETREGSET, id, noteXstate, length); err != nil {
		return h, err
	}
	h.vector = h.vector[:vector.Len]
	blocked := uintptr(unsafe.Pointer(&h.blocked))
	if err := ptrace(ptraceGetSigmask, id, setSize, blocked); err != nil {
		return h, err
	}
	sequence := uintptr(unsafe.Pointer(&h.sequence))
	if err := ptrace(ptraceGetRseq, id, unsafe.Sizeof(h.sequence), sequence); err != nil {
		return h, unsupported("the kernel does not tell where its restartable sequences are: %v", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_GET_ROBUST_LIST, uintptr(id), uintptr(unsafe.Pointer(&h.robust)),
		uintptr(unsafe.Pointer(&h.robustN)))
	if errno != 0 {
		return h, errno
	}
	if err := t.ask(id, &h); err != nil {
		return h, err
	}
	h.again()
	return h, unix.PtraceSetRegs(id, &h.regs) // This one goes on as the copies do.
}

// ask finds out by calls in a thread's name what is not told to others.
func (t tracee) ask(id int, h *thread) error {
	at := scratch(h.regs)
	if _, err := t.call(id, h.regs, unix.SYS_PRCTL, getTIDAddress, at); err != nil {
		return err
	}
	var err error
	if h.cleared, err = t.word(at); err != nil {
		return err
	}
	if _, err := t.call(id, h.regs, unix.SYS_SIGALTSTACK, 0, at); err != nil {
		return err
	}
	const disabled = 2 // SS_DISABLE
	flags, err := t.word(at + 8)
	if err == nil && uint32(flags) != disabled {
		return unsupported("a thread has a stack of its own for signals")
	}
	return err
}

// word reads eight bytes of the process's memory.
func (t tracee) word(at uint64) (uint64, error) {
	var b [8]byte
	_, err := t.mem.ReadAt(b[:], int64(at))
	return binary.LittleEndian.Uint64(b[:]), err
}

// again has a thread that was stopped in a system call begin it anew, as the kernel would, or end it as one
// that was interrupted.
func (h *thread) again() {
	const instruction = 2 // bytes of it
	if int64(h.regs.Orig_rax) < 0 {
		return // It was in none.
	}
	defer func() { h.regs.Orig_rax = ^uint64(0) }()
	switch int64(h.regs.Rax) {
	case restartSys, restartNoIntr, restartNoHand:
		h.regs.Rax = h.regs.Orig_rax
		h.regs.Rip -= instruction
	case restartWithBlock:
		h.regs.Rax = uint64(^uintptr(unix.EINTR) + 1)
	}
}

// action is what a process does on a signal, as the kernel knows it.
type action struct{ handler, flags, restorer, mask uint64 }

// actions asks for what the process does on each signal. What is not in the map is the kernel's default.
func (t tracee) actions(first thread) (map[int]action, error) {
	const last = 64
	all := map[int]action{}
	at := scratch(first.regs)
	for number := 1; number <= last; number++ {
		if _, err := t.call(first.id, first.regs, unix.SYS_RT_SIGACTION, uint64(number), 0, at,
			setSize); err != nil {
			return nil, err
		}
		var b [32]byte
		if _, err := t.mem.ReadAt(b[:], int64(at)); err != nil {
			return nil, err
		}
		var a action
		for i, to := range []*uint64{&a.handler, &a.flags, &a.restorer, &a.mask} {
			*to = binary.LittleEndian.Uint64(b[8*i:])
		}
		if a.handler != 0 {
			all[number] = a
		}
	}
	return all, nil
}

func ptrace(request, id int, address, data uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(id), address, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
