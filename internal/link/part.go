package link

import (
	"context"
	"encoding/binary"
	"io"
)

// PartSize is the size of the length before a part, in bytes.
const PartSize = 8

// PartLength reads the length that stands before a part of what the host keeps of a guest's disk: 8 bytes,
// little-endian. A part of length 0 is one that was not finished, and ends them all, as an end of file
// does.
func PartLength(r io.Reader) (int64, error) {
	var b [PartSize]byte
	_, err := io.ReadFull(r, b[:])
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return int64(binary.LittleEndian.Uint64(b[:]) & (1<<63 - 1)), err
}

// Save writes a part of what was written to a guest's disk that is memory, for [PartLength]'s file.
func (c *Client) Save(ctx context.Context, s Save, w io.Writer) error {
	return c.converse(ctx, OpSave, s, nil, source{}, map[uint8]io.Writer{KindData: w})
}
