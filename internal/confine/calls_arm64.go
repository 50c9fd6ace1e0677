package confine

import "golang.org/x/sys/unix"

const (
	auditArch      = unix.AUDIT_ARCH_AARCH64
	foreignNumbers = 1 << 31 // no second table
)

// deniedHere are denied on this architecture, which has them.
var deniedHere []uint32
