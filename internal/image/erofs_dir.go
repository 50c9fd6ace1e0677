package image

import (
	"encoding/binary"
	"io/fs"
	"strings"
)

// dirEntry is a name in a directory of an image.
type dirEntry struct {
	name string
	*inode
}

func compareNames(a, b dirEntry) int { return strings.Compare(a.name, b.name) }

// direntSize is the fixed part of an entry. A block of a directory begins with the fixed parts of its
// entries; their names follow, each up to the next.
const direntSize = 12

// nextDirBlock cuts off the entries that go into the next block, and tells how much of it they fill.
func nextDirBlock(kids []dirEntry) (block, rest []dirEntry, used int) {
	for i, kid := range kids {
		need := direntSize + len(kid.name)
		if used+need > blockSize {
			return kids[:i], kids[i:], used
		}
		used += need
	}
	return kids, nil, used
}

// dirSize is the length of a directory's content: whole blocks, and as much of the last as is used.
func dirSize(kids []dirEntry) int64 {
	var size int64
	for {
		_, rest, used := nextDirBlock(kids)
		if len(rest) == 0 {
			return size + int64(used)
		}
		size += blockSize
		kids = rest
	}
}

// writeDir writes those length bytes of a directory's content that begin with the block at off.
func writeDir(out *output, kids []dirEntry, off, length int64) error {
	var buf [blockSize]byte
	for at := int64(0); at < off+length; at += blockSize {
		block, rest, _ := nextDirBlock(kids)
		kids = rest
		if at < off {
			continue
		}
		clear(buf[:])
		encodeDirBlock(buf[:], block)
		if err := out.write(buf[:min(blockSize, off+length-at)]); err != nil {
			return err
		}
	}
	return nil
}

func encodeDirBlock(b []byte, kids []dirEntry) {
	nameAt := direntSize * len(kids)
	for i, kid := range kids {
		d := b[direntSize*i:]
		binary.LittleEndian.PutUint64(d[0:], kid.nid())
		binary.LittleEndian.PutUint16(d[8:], uint16(nameAt))
		d[10] = dirType(kid.mode)
		nameAt += copy(b[nameAt:], kid.name)
	}
}

// dirType is the file type as directories have it, which is the FT_* of the kernel's fs_types.h.
func dirType(mode fs.FileMode) byte {
	switch mode.Type() {
	case fs.ModeDir:
		return 2
	case fs.ModeDevice | fs.ModeCharDevice:
		return 3
	case fs.ModeDevice:
		return 4
	case fs.ModeNamedPipe:
		return 5
	case fs.ModeSymlink:
		return 7
	default:
		return 1
	}
}
