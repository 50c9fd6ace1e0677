package checkpoint

import "encoding/binary"

// Of the kernel's arch/x86/include/uapi/asm/sigcontext.h and ucontext.h.
const (
	hasXstate      = 1 // flags of the context
	hasSegment     = 2
	strictSegment  = 4
	stackDisabled  = 2
	xstateMagic    = 0x46505853
	xstateEnd      = 0x46505845
	xstateReserved = 464 // where software has its words in the area of the vector registers
	xstateHeader   = 512 // where the features stand that the area has
)

// frame writes what a thread goes on from, as if it came back from a signal's handler: a struct ucontext, and
// the vector registers. It gives the address at which the kernel expects the stack pointer.
func (h thread) frame(d *data) uint64 {
	le := binary.LittleEndian
	vector := append([]byte(nil), h.vector...)
	features := le.Uint64(vector[xstateReserved:]) // the kernel's own mark: what it lets programs use
	clear(vector[xstateReserved:xstateHeader])
	le.PutUint32(vector[xstateReserved:], xstateMagic)
	le.PutUint32(vector[xstateReserved+4:], uint32(len(vector)+4))
	le.PutUint64(vector[xstateReserved+8:], features)
	le.PutUint32(vector[xstateReserved+16:], uint32(len(vector)))
	state := d.add(64, le.AppendUint32(vector, xstateEnd))

	r := h.regs
	words := []uint64{
		hasXstate | hasSegment | strictSegment, 0, // flags, link
		0, stackDisabled, 0, // stack for signals
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15,
		r.Rdi, r.Rsi, r.Rbp, r.Rbx, r.Rdx, r.Rax, r.Rcx, r.Rsp, r.Rip, r.Eflags,
		r.Cs&0xffff | r.Ss<<48, // with gs and fs between them
		0, 0, 0, 0, state,      // error, trap, old mask, address, vector registers
		0, 0, 0, 0, 0, 0, 0, 0,
		h.blocked,
	}
	b := make([]byte, 0, 8*len(words))
	for _, word := range words {
		b = le.AppendUint64(b, word)
	}
	return d.add(16, b)
}
