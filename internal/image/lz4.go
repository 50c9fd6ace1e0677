package image

import (
	"encoding/binary"
	"errors"
	"io"
)

// lz4Magic begins the "legacy" framing of LZ4, which kernels use: blocks of 8 MiB unpacked (the last is
// shorter), each behind its packed length, independent of each other.
const (
	lz4Magic = "\x02\x21\x4c\x18"
	lz4Block = 8 << 20
)

var errLZ4 = errors.New("the LZ4 data is damaged")

// lz4Reader unpacks block by block.
type lz4Reader struct {
	packed []byte
	block  []byte // unpacked; reused
	unread []byte
}

func newLZ4Reader(b []byte) (io.Reader, error) {
	if len(b) < len(lz4Magic) {
		return nil, errLZ4
	}
	return &lz4Reader{packed: b[len(lz4Magic):], block: make([]byte, 0, lz4Block)}, nil
}

func (r *lz4Reader) Read(p []byte) (int, error) {
	for len(r.unread) == 0 {
		if len(r.packed) < 4 {
			return 0, io.EOF
		}
		n := binary.LittleEndian.Uint32(r.packed)
		if int64(n) > int64(len(r.packed)-4) {
			return 0, io.ErrUnexpectedEOF
		}
		block, err := unpackLZ4(r.block[:0], r.packed[4:4+n])
		if err != nil {
			return 0, err
		}
		r.packed, r.unread = r.packed[4+n:], block
	}
	n := copy(p, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}

// unpackLZ4 appends to dst, and never beyond its capacity, what the block src unpacks to. A block is a
// sequence of literals and matches (lz4's lz4_Block_format.md); the last one has no match.
func unpackLZ4(dst, src []byte) ([]byte, error) {
	for len(src) > 0 {
		token := src[0]
		literals, rest, ok := lz4Length(int(token>>4), src[1:])
		if !ok || literals > len(rest) || literals > cap(dst)-len(dst) {
			return nil, errLZ4
		}
		dst = append(dst, rest[:literals]...)
		src = rest[literals:]
		if len(src) == 0 {
			return dst, nil
		}
		if len(src) < 2 {
			return nil, errLZ4
		}
		back := int(binary.LittleEndian.Uint16(src))
		match, rest, ok := lz4Length(int(token&15), src[2:])
		match += 4
		if !ok || back == 0 || back > len(dst) || match > cap(dst)-len(dst) {
			return nil, errLZ4
		}
		src = rest
		for match > 0 { // a match may reach into what it writes: copy what is there, at most doubling it
			from := dst[len(dst)-back:]
			n := min(match, len(from))
			dst = append(dst, from[:n]...)
			match -= n
			back += n
		}
	}
	return nil, errLZ4
}

// lz4Length reads on if a length does not fit the four bits of its token. It stays below the length of a
// block.
func lz4Length(n int, src []byte) (length int, rest []byte, ok bool) {
	if n < 15 {
		return n, src, true
	}
	for i, b := range src {
		n += int(b)
		if n > lz4Block {
			return 0, nil, false
		}
		if b != 255 {
			return n, src[i+1:], true
		}
	}
	return 0, nil, false
}
