package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// Between Pack and Extract a tree goes as a stream of our own, because reading a tar header takes an emulated
// guest half as long as making the file. An entry is a head of 27 bytes, little-endian:
//
//	kind 1, length of the path 2, length of the link's target 2, permissions 2, size 8, time of change: seconds 8, nanoseconds 4
//
// then the path, the target, and a file's content. A zero in place of a kind is the end, and nothing comes
// behind it.
const headSize = 27

// entry is a file, directory or link in a tree.
type entry struct {
	kind  kind
	name  string
	link  string // target
	mode  uint32 // permissions, with set-uid, set-gid and sticky
	size  int64  // of a file
	mtime time.Time
}

// write appends the entry to a stream. Its path and its target are admitted ones: short.
func (e *entry) write(w *bufio.Writer) error {
	head := append(make([]byte, 0, headSize), byte(e.kind))
	head = binary.LittleEndian.AppendUint16(head, uint16(len(e.name)))
	head = binary.LittleEndian.AppendUint16(head, uint16(len(e.link)))
	head = binary.LittleEndian.AppendUint16(head, uint16(e.mode))
	head = binary.LittleEndian.AppendUint64(head, uint64(e.size))
	head = binary.LittleEndian.AppendUint64(head, uint64(e.mtime.Unix()))
	head = binary.LittleEndian.AppendUint32(head, uint32(e.mtime.Nanosecond()))
	_, err := w.Write(head)
	_, nameErr := w.WriteString(e.name)
	_, linkErr := w.WriteString(e.link)
	return errors.Join(err, nameErr, linkErr)
}

// writeEnd ends a stream.
func writeEnd(w *bufio.Writer) error { return w.WriteByte(byte(nothing)) }

// read takes the next entry from a stream; io.EOF is its end. What it says is still to be judged by the
// rules.
func (e *entry) read(r *bufio.Reader) error {
	first, err := r.ReadByte()
	if err != nil {
		return cut(err)
	}
	if kind(first) == nothing {
		if _, err := r.ReadByte(); err != nil {
			return err
		}
		return refuse("", "something follows the end of the stream")
	}
	head, err := r.Peek(headSize - 1)
	if err != nil {
		return cut(err)
	}
	names := make([]byte, int(binary.LittleEndian.Uint16(head))+int(binary.LittleEndian.Uint16(head[2:])))
	e.kind = kind(first)
	e.mode = uint32(binary.LittleEndian.Uint16(head[4:])) & 0o7777
	e.size = int64(binary.LittleEndian.Uint64(head[6:]))
	e.mtime = time.Unix(int64(binary.LittleEndian.Uint64(head[14:])),
		int64(binary.LittleEndian.Uint32(head[22:])))
	at := int(binary.LittleEndian.Uint16(head))
	if _, err := r.Discard(len(head)); err != nil {
		return err
	}
	if _, err := io.ReadFull(r, names); err != nil {
		return cut(err)
	}
	e.name, e.link = string(names[:at]), string(names[at:])
	return nil
}

// cut is the error of a stream that ends before its end.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse("", "the stream is truncated")
	}
	return err
}
