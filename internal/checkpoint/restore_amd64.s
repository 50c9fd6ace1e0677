#include "textflag.h"

// restore is the code of a checkpoint: it is copied to the first page of the file, and is entered by the
// kernel as a program is. It makes the system calls of the program on the next page, one after the other; see
// program.go for their form. Nothing in it may depend on its place, or on a stack.
TEXT ·restore(SB), NOSPLIT|NOFRAME, $0-0
	// The kernel's code in this process is found in the auxiliary vector: behind the arguments and the
	// environment, which a zero ends each, there are pairs, of which AT_SYSINFO_EHDR (33) has it.
	MOVQ (SP), AX
	LEAQ 16(SP)(AX*8), SI

environment:
	MOVQ  (SI), AX
	ADDQ  $8, SI
	TESTQ AX, AX
	JNE   environment

auxiliary:
	MOVQ  (SI), AX
	MOVQ  8(SI), R15
	ADDQ  $16, SI
	CMPQ  AX, $33
	JEQ   found
	TESTQ AX, AX
	JNE   auxiliary
	XORQ  R15, R15

found:
	LEAQ ·restore(SB), BX
	ANDQ $-4096, BX
	ADDQ $4096, BX

next:
	MOVQ 0(BX), AX
	MOVQ 8(BX), DI
	MOVQ 16(BX), SI
	MOVQ 24(BX), DX
	MOVQ 32(BX), R10
	MOVQ 40(BX), R8
	MOVQ 48(BX), R9
	MOVQ 56(BX), R12
	ADDQ $64, BX

	TESTQ $4, R12 // the thread goes on from its frame
	JNE   resume
	TESTQ $1, R12 // relative to the kernel's code
	JEQ   absolute
	ADDQ  R15, DI

absolute:
	SYSCALL
	CMPQ  AX, $-4095
	JCC   failed
	TESTQ $2, R12 // a clone
	JEQ   next
	TESTQ AX, AX
	JNE   next
	POPQ  BX     // the child, whose stack is its program's address
	JMP   next

resume:
	MOVQ DI, SP
	SYSCALL

failed:
	NEGQ AX
	MOVQ AX, DI
	MOVQ $231, AX // exit_group, with the error's number
	SYSCALL
	INT  $3
	QUAD $0x646e65206e776f64 // where the code ends, see restoreCode

// func restoreCode() unsafe.Pointer
TEXT ·restoreCode(SB), NOSPLIT, $0-8
	LEAQ ·restore(SB), AX
	MOVQ AX, ret+0(FP)
	RET
