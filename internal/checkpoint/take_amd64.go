package checkpoint

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// restoreCode gives the place of a checkpoint's code, see restore_amd64.s.
func restoreCode() unsafe.Pointer

// state is all of a process that is kept.
type state struct {
	regions     []region
	threads     []thread // the first one first
	actions     map[int]action
	descriptors []descriptor
}

func take(ctx context.Context, p Process, boot string, to *os.File) error {
	// What is traced belongs to the thread that traces it.
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- takeTraced(ctx, p, boot, to)
	}()
	return <-done
}

func takeTraced(ctx context.Context, p Process, boot string, to *os.File) error {
	ids, err := stop(ctx, p.PID)
	defer func() { letGo(ids) }()
	if err != nil {
		return err
	}
	s, err := capture(p, ids)
	if err != nil {
		return err
	}
	// What is kept stands behind the program, which says where: so its size is found first.
	draft, _, err := s.program(p, 0)
	if err != nil {
		return err
	}
	base, err := place(s.regions, uint64(len(draft)))
	if err != nil {
		return err
	}
	end, err := keep(p.PID, s.regions, to, int64(len(draft)))
	if err != nil {
		return err
	}
	head, needs, err := s.program(p, base)
	if err != nil {
		return err
	}
	if _, err := to.WriteAt(head, 0); err != nil {
		return err
	}
	last, err := json.Marshal(note{Boot: boot, Needs: needs})
	if err != nil {
		return err
	}
	if len(last) > maxNote {
		return unsupported("it consists of too many files")
	}
	_, err = to.WriteAt(binary.LittleEndian.AppendUint32(last, uint32(len(last))), end)
	return err
}

// capture finds out all that there is to know about a process that has stopped.
func capture(p Process, ids []int) (s state, err error) {
	if s.regions, err = regions(p.PID); err != nil {
		return s, err
	}
	t, err := newTracee(p.PID, s.regions)
	if err != nil {
		return s, err
	}
	defer t.mem.Close()
	for _, id := range ids {
		h, err := t.inspect(id)
		if err != nil {
			return s, err
		}
		s.threads = append(s.threads, h)
	}
	if s.actions, err = t.actions(s.threads[0]); err != nil {
		return s, err
	}
	if err := find(p.PID, s.regions); err != nil {
		return s, err
	}
	s.regions = growStack(s.regions)
	s.descriptors, err = descriptors(p)
	return s, err
}

// growStack gives the first thread's stack the room that it could have grown to.
func growStack(all []region) []region {
	for i := range all {
		if all[i].name != "[stack]" || i == 0 {
			continue
		}
		floor := all[i-1].end + pageSize
		if all[i].end > stackSize && all[i].end-stackSize > floor {
			floor = all[i].end - stackSize
		}
		all[i].start = min(all[i].start, floor)
	}
	return all
}

// program makes the beginning of a checkpoint, up to what is kept: headers and code in the first page, then
// the system calls, then what they point to. Its size does not depend on the base.
func (s state) program(p Process, base uint64) ([]byte, []need, error) {
	var size uint64
	for { // Twice: what the calls point to stands behind them, at an address that depends on their number.
		d := &data{base: base + pageSize + size}
		first, needs, err := s.calls(p, d, base+pageSize)
		if err != nil {
			return nil, nil, err
		}
		if got := uint64(len(first)); got != size {
			size = got
			continue
		}
		head, err := header(base, uint64(pageSize+len(first)+d.bytes.Len()))
		if err != nil {
			return nil, nil, err
		}
		out := slices.Concat(head, first, d.bytes.Bytes())
		return append(out, make([]byte, -len(out)&(pageSize-1))...), needs, nil
	}
}

// calls makes the system calls of all threads. They begin at an address.
func (s state) calls(p Process, d *data, at uint64) ([]byte, []need, error) {
	var main program
	all := d.add(8, bytes.Repeat([]byte{0xff}, setSize))
	main.call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, all, 0, setSize)
	main.stash(len(p.Files) + 1)
	if err := main.moveKernel(s.regions); err != nil {
		return nil, nil, err
	}
	needs, err := main.mapRegions(s.regions, p.Files, d)
	if err != nil {
		return nil, nil, err
	}
	main.open(s.descriptors, d)
	main.watchAll(s.descriptors, d)
	for _, number := range slices.Sorted(maps.Keys(s.actions)) {
		a := s.actions[number]
		var b []byte
		for _, word := range []uint64{a.handler, a.flags, a.restorer, a.mask} {
			b = binary.LittleEndian.AppendUint64(b, word)
		}
		main.call(unix.SYS_RT_SIGACTION, uint64(number), d.add(8, b), 0, setSize)
	}
	if len(p.Filter) > 0 {
		main.filter(p.Filter, d)
	}
	first := s.threads[0]
	main.call(unix.SYS_SET_TID_ADDRESS, first.cleared)
	main.call(unix.SYS_ARCH_PRCTL, archSetFS, first.regs.Fs_base)
	parts := []program{first.own(d)}
	for _, h := range s.threads[1:] {
		parts = append(parts, h.own(d))
	}
	// The other threads' programs stand behind the first one's, each at an address that it is started with.
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
		unix.CLONE_SYSVSEM | unix.CLONE_SETTLS | unix.CLONE_CHILD_CLEARTID
	next := at + uint64(8*len(main.words)+opSize*len(s.threads[1:])+8*len(parts[0].words))
	for i, h := range s.threads[1:] {
		start := d.add(8, binary.LittleEndian.AppendUint64(nil, next))
		main.op(opThread, unix.SYS_CLONE, flags, start, 0, h.cleared, h.regs.Fs_base)
		next += uint64(8 * len(parts[i+1].words))
	}
	out := main.bytes()
	for _, part := range parts {
		out = append(out, part.bytes()...)
	}
	return out, needs, nil
}

const archSetFS = 0x1002 // of arch_prctl

// filter puts a filter of system calls on the process.
func (p *program) filter(code []unix.SockFilter, d *data) {
	var b []byte
	for _, in := range code {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.Jt, in.Jf)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	at := d.add(8, b)
	b = binary.LittleEndian.AppendUint64(nil, uint64(len(code)))
	p.call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0,
		d.add(8, binary.LittleEndian.AppendUint64(b, at)))
}

// own is what a thread does for itself, the last of it to go on.
func (h thread) own(d *data) (p program) {
	name := d.add(1, append([]byte(h.name), 0))
	p.call(unix.SYS_PRCTL, unix.PR_SET_NAME, name)
	if h.robust != 0 {
		p.call(unix.SYS_SET_ROBUST_LIST, h.robust, h.robustN)
	}
	if s := h.sequence; s.Pointer != 0 {
		p.call(unix.SYS_RSEQ, s.Pointer, uint64(s.Size), uint64(s.Flags), uint64(s.Signature))
	}
	p.op(opResume, unix.SYS_RT_SIGRETURN, h.frame(d))
	return p
}

// header makes the first page: the ELF headers of an executable of one segment, and the code.
func header(base, size uint64) ([]byte, error) {
	code := unsafe.Slice((*byte)(restoreCode()), pageSize/4)
	end := bytes.Index(code, []byte("down end"))
	if end < 0 {
		return nil, fmt.Errorf("the end of a checkpoint's code is not found")
	}
	const headers = 64 + 2*56
	var b bytes.Buffer
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB),
		byte(elf.EV_CURRENT)}
	for _, part := range []any{
		elf.Header64{
			Ident:     ident,
			Type:      uint16(elf.ET_EXEC),
			Machine:   uint16(elf.EM_X86_64),
			Version:   uint32(elf.EV_CURRENT),
			Entry:     base + headers,
			Phoff:     64,
			Ehsize:    64,
			Phentsize: 56,
			Phnum:     2,
		},
		elf.Prog64{
			Type:   uint32(elf.PT_LOAD),
			Flags:  uint32(elf.PF_R | elf.PF_X),
			Vaddr:  base,
			Filesz: size,
			Memsz:  size,
			Align:  pageSize,
		},
		elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	b.Write(code[:end])
	b.Write(make([]byte, pageSize-b.Len()))
	return b.Bytes(), nil
}
