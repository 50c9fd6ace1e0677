package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// What a checkpoint does when it is executed is a program of system calls, which restore_*.s makes one after
// the other. It has no stack and no memory but itself, so that it can replace all else.

// How an op is meant, beside the call itself. The numbers are known to the assembly code.
const (
	opVDSO   = 1 << iota // the first argument is relative to the kernel's code in this process
	opThread             // a clone: the child goes on with the program that its stack pointer points to
	opResume             // the last of a thread: the first argument is its frame, as for sigreturn
)

// opSize is how long an op is, in bytes: the call's number, six arguments, how it is meant.
const opSize = 64

// program is a list of system calls that is being made.
type program struct{ words []uint64 }

func (p *program) op(how uint64, call uintptr, args ...uint64) {
	var six [6]uint64
	copy(six[:], args)
	p.words = append(p.words, uint64(call))
	p.words = append(p.words, six[:]...)
	p.words = append(p.words, how)
}

func (p *program) call(call uintptr, args ...uint64) { p.op(0, call, args...) }

func (p *program) bytes() []byte {
	out := make([]byte, 0, 8*len(p.words))
	for _, word := range p.words {
		out = binary.LittleEndian.AppendUint64(out, word)
	}
	return out
}

// setSize is the size of a set of signals, in bytes.
const setSize = 8

// Numbers of descriptors while a checkpoint becomes its process.
const (
	firstPassed = 3
	spare       = 512 // those that were passed are kept from here on
)

// spareOf is where the passed file i is kept, and the checkpoint itself behind the last.
func spareOf(i int) uint64 { return uint64(spare + i) }

// stash moves what was passed out of the way, and closes all else that whoever executes it has left open.
func (p *program) stash(n int) {
	p.call(unix.SYS_CLOSE_RANGE, uint64(firstPassed+n), math.MaxUint32, 0)
	for i := range n {
		p.call(unix.SYS_DUP3, uint64(firstPassed+i), spareOf(i), unix.O_CLOEXEC)
	}
	p.call(unix.SYS_CLOSE_RANGE, firstPassed, spare-1, 0)
}

// moveKernel brings the kernel's own regions to where the process knows them. The first of them, and what is
// relative to it, is found by the code's address.
func (p *program) moveKernel(all []region) error {
	var code uint64
	for _, r := range all {
		if r.name == "[vdso]" {
			code = r.start
		}
	}
	if code == 0 {
		return unsupported("it has no code of the kernel's")
	}
	for _, r := range all {
		if r.special() {
			p.op(opVDSO, unix.SYS_MREMAP, r.start-code, r.size(), r.size(),
				unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, r.start)
		}
	}
	return nil
}

// data is what a program points to, at a known address.
type data struct {
	base  uint64
	bytes bytes.Buffer
}

// add appends, at an address that is a multiple of align, and gives the address.
func (d *data) add(align int, b []byte) uint64 {
	for d.bytes.Len()%align != 0 {
		d.bytes.WriteByte(0)
	}
	at := d.base + uint64(d.bytes.Len())
	d.bytes.Write(b)
	return at
}

// mapRegions makes the process's mappings: what they are of, then what they have of their own. It gives the
// files that it opens.
func (p *program) mapRegions(all []region, files []File, d *data) ([]need, error) {
	image := spareOf(len(files))
	paths := map[string]uint64{}
	var needs []need
	for _, r := range all {
		if r.special() {
			continue
		}
		flags := uint64(unix.MAP_PRIVATE | unix.MAP_FIXED)
		given := givenFile(files, r)
		switch {
		case given >= 0:
			p.call(unix.SYS_MMAP, r.start, r.size(), r.prot, flags, spareOf(given), r.offset)
		case r.shared && r.prot&unix.PROT_WRITE != 0:
			return nil, unsupported("it shares %q with others", r.name)
		case r.inode == 0:
			p.call(unix.SYS_MMAP, r.start, r.size(), r.prot, flags|unix.MAP_ANONYMOUS, ^uint64(0), 0)
		default:
			if paths[r.name] == 0 {
				n, err := needOf(r.name)
				if err != nil || n.Inode != r.inode {
					return nil, unsupported("what it has mapped is no longer %q", r.name)
				}
				needs = append(needs, n)
				paths[r.name] = d.add(1, append([]byte(r.name), 0))
			}
			const free = firstPassed // the lowest descriptor, since all before are open
			p.call(unix.SYS_OPENAT, 0, paths[r.name], unix.O_RDONLY|unix.O_CLOEXEC)
			p.call(unix.SYS_MMAP, r.start, r.size(), r.prot, flags, free, r.offset)
			p.call(unix.SYS_CLOSE, free)
		}
		for _, e := range r.own {
			p.call(unix.SYS_MMAP, e.start, e.end-e.start, r.prot, flags, image, uint64(e.at))
		}
	}
	return needs, nil
}

// givenFile is which of the files a region is of, or -1.
func givenFile(files []File, r region) int {
	for i, f := range files {
		if r.shared && r.inode == f.Inode {
			return i
		}
	}
	return -1
}

// open makes the process's descriptors under their numbers.
func (p *program) open(all []descriptor, d *data) {
	taken := map[int]bool{0: true, 1: true, 2: true}
	lowest := func() int {
		n := 0
		for taken[n] {
			n++
		}
		return n
	}
	for _, each := range all {
		number := uint64(each.number)
		switch each.kind {
		case passed:
			p.call(unix.SYS_DUP3, spareOf(each.file), number, each.closesOnExec())
		case eventfd:
			p.call(unix.SYS_EVENTFD2, each.value, each.closesOnExec()|each.status())
		case signalfd:
			signals := d.add(8, binary.LittleEndian.AppendUint64(nil, each.value))
			p.call(unix.SYS_SIGNALFD4, ^uint64(0), signals, setSize, each.closesOnExec()|each.status())
		case epoll:
			p.call(unix.SYS_EPOLL_CREATE1, each.closesOnExec())
		}
		made := lowest()
		switch {
		case each.kind == standard || each.kind == passed:
			if each.status() != 0 {
				p.call(unix.SYS_FCNTL, number, unix.F_SETFL, each.status())
			}
		case made != each.number:
			p.call(unix.SYS_DUP3, uint64(made), number, each.closesOnExec())
			p.call(unix.SYS_CLOSE, uint64(made))
		}
		taken[each.number] = true
	}
	p.call(unix.SYS_CLOSE_RANGE, spare, math.MaxUint32, 0)
}

// watchAll makes the epolls wait for what they did.
func (p *program) watchAll(all []descriptor, d *data) {
	for _, each := range all {
		for _, w := range each.watch {
			event := binary.LittleEndian.AppendUint32(nil, w.events)
			event = binary.LittleEndian.AppendUint64(event, w.data)
			p.call(unix.SYS_EPOLL_CTL, uint64(each.number), unix.EPOLL_CTL_ADD, uint64(w.fd),
				d.add(8, event))
		}
	}
}

// place finds room for the program itself, where the process has nothing.
func place(all []region, size uint64) (uint64, error) {
	const first, step, last = 1 << 24, 1 << 24, 1 << 32
	for at := uint64(first); at < last; at += step {
		free := true
		for _, r := range all {
			free = free && (r.end <= at || r.start >= at+size)
		}
		if free {
			return at, nil
		}
	}
	return 0, fmt.Errorf("%w: there is no room for %d bytes in its memory", ErrUnsupported, size)
}
