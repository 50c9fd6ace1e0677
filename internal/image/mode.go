package image

import (
	"io/fs"
	"syscall"
	"time"
)

// specialBits pairs the permission bits that Go and Unix number differently.
var specialBits = [...]struct {
	mode fs.FileMode
	unix uint32
}{
	{fs.ModeSetuid, syscall.S_ISUID},
	{fs.ModeSetgid, syscall.S_ISGID},
	{fs.ModeSticky, syscall.S_ISVTX},
}

// permissions turns the permission bits of a tar header into Go's.
func permissions(bits int64) fs.FileMode {
	mode := fs.FileMode(bits) & fs.ModePerm
	for _, s := range specialBits {
		if uint32(bits)&s.unix != 0 {
			mode |= s.mode
		}
	}
	return mode
}

// unixMode is the mode as the kernel has it on disk.
func unixMode(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for _, s := range specialBits {
		if mode&s.mode != 0 {
			bits |= s.unix
		}
	}
	switch mode.Type() {
	case fs.ModeDir:
		bits |= syscall.S_IFDIR
	case fs.ModeSymlink:
		bits |= syscall.S_IFLNK
	case fs.ModeNamedPipe:
		bits |= syscall.S_IFIFO
	case fs.ModeDevice:
		bits |= syscall.S_IFBLK
	case fs.ModeDevice | fs.ModeCharDevice:
		bits |= syscall.S_IFCHR
	default:
		bits |= syscall.S_IFREG
	}
	return bits
}

// unixTime is the time in seconds and nanoseconds, and that of the zero Time the epoch.
func unixTime(t time.Time) (sec uint64, nsec uint32) {
	if t.IsZero() {
		return 0, 0
	}
	return uint64(t.Unix()), uint32(t.Nanosecond())
}
