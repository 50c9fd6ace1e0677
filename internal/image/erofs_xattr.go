package image

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"
)

// xattrPrefixes are the name spaces that EROFS knows; an attribute is kept under the number and the rest of
// its name. Whole names come before the prefixes.
var xattrPrefixes = [...]struct {
	prefix string
	index  byte
	whole  bool
}{
	{"system.posix_acl_access", 2, true},
	{"system.posix_acl_default", 3, true},
	{"user.", 1, false},
	{"trusted.", 4, false},
	{"security.", 6, false},
}

const (
	xattrHeader = 12 // in front of the attributes of an inode; its list of shared ones stays empty
	xattrEntry  = 4  // in front of each
	// maxXattrs keeps the attributes of one inode within what its 16-bit count of words can tell.
	maxXattrs = (math.MaxUint16-1)*4 + xattrHeader
)

// xattrIndex splits a name for the disk; ok is false for one that EROFS has no place for.
func xattrIndex(name string) (index byte, suffix string, ok bool) {
	for _, p := range xattrPrefixes {
		suffix, found := strings.CutPrefix(name, p.prefix)
		if found && (suffix == "") == p.whole && len(suffix) <= math.MaxUint8 &&
			!strings.Contains(suffix, "\x00") {
			return p.index, suffix, true
		}
	}
	return 0, "", false
}

// xattrSize is the encoded size, or one that is over any limit if a value cannot be encoded.
func xattrSize(xattrs map[string]string) int64 {
	if len(xattrs) == 0 {
		return 0
	}
	size := int64(xattrHeader)
	for name, value := range xattrs {
		if len(value) > math.MaxUint16 {
			return math.MaxInt64
		}
		_, suffix, _ := xattrIndex(name)
		size += align(int64(xattrEntry+len(suffix)+len(value)), 4)
	}
	return size
}

func encodeXattrs(xattrs map[string]string) []byte {
	if len(xattrs) == 0 {
		return nil
	}
	b := make([]byte, xattrHeader, xattrSize(xattrs))
	for _, name := range slices.Sorted(maps.Keys(xattrs)) {
		index, suffix, _ := xattrIndex(name)
		value := xattrs[name]
		b = append(b, byte(len(suffix)), index)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
		b = append(append(b, suffix...), value...)
		b = append(b, make([]byte, align(int64(len(b)), 4)-int64(len(b)))...)
	}
	return b
}

// xattrCount is how an inode tells the size of its encoded attributes.
func xattrCount(encoded []byte) uint16 {
	if len(encoded) == 0 {
		return 0
	}
	return uint16((len(encoded)-xattrHeader)/4 + 1)
}

// xattrBytes is how much an inode's attributes take, by the count that it has of them.
func xattrBytes(count uint16) int64 {
	const header, unit = 12, 4
	if count == 0 {
		return 0
	}
	return header + int64(count-1)*unit
}

// xattrs reads the attributes of an inode, which stand at a place in so many bytes. Nil is none.
func (in *imageReader) xattrs(pos, size int64) (map[string]string, error) {
	if size == 0 {
		return nil, nil
	}
	b := make([]byte, size)
	if err := in.at(b, pos); err != nil {
		return nil, err
	}
	if b[4] != 0 {
		return nil, errImage // Shared attributes are not written here.
	}
	out := map[string]string{}
	for b = b[xattrHeader:]; len(b) >= xattrEntry; {
		suffix, value := int(b[0]), int(binary.LittleEndian.Uint16(b[2:]))
		end := xattrEntry + suffix + value
		prefix, ok := xattrPrefix(b[1])
		if !ok || end > len(b) {
			return nil, errImage
		}
		name := prefix + string(b[xattrEntry:xattrEntry+suffix])
		if _, _, ok := xattrIndex(name); !ok {
			return nil, errImage
		}
		out[name] = string(b[xattrEntry+suffix : end])
		b = b[min(align(int64(end), 4), int64(len(b))):]
	}
	return out, nil
}

// xattrPrefix is the name space of a number.
func xattrPrefix(index byte) (string, bool) {
	for _, p := range xattrPrefixes {
		if p.index == index {
			return p.prefix, true
		}
	}
	return "", false
}
