package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// Between Pack and Extract a tree goes as a stream of our own, because reading a tar header takes an emulated
// guest half as long as making the file. An entry is a head of 35 bytes, little-endian:
//
//	kind 1, length of the path 2, length of the link's target 2, permissions 2, size 8,
//	time of change: seconds 8, nanoseconds 4, owner 4, group 4
//
// then the path, the target, and a file's content. Of a sparse file the content is the number of its extents,
// 4 bytes, the offset and the length of each, 8 bytes both, and what is in them. A zero in place of a kind is
// the end, and nothing comes behind it.
const headSize = 35

// entry is a file, directory or link in a tree.
type entry struct {
	kind  kind
	name  string
	link  string // target
	mode  uint32 // permissions, with set-uid, set-gid and sticky
	size  int64  // of a file
	mtime time.Time

	uid, gid uint32
	extents  []extent // of a sparse file: all that is not a hole, in its order
}

// extent is a part of a file.
type extent struct{ off, length int64 }

// maxExtents bounds the parts of a sparse file. One with more of them is carried as a whole.
const maxExtents = 1 << 16

// write appends the entry to a stream. Its path and its target are admitted ones: short.
func (e *entry) write(w *bufio.Writer) error {
	head := append(make([]byte, 0, headSize), byte(e.kind))
	head = binary.LittleEndian.AppendUint16(head, uint16(len(e.name)))
	head = binary.LittleEndian.AppendUint16(head, uint16(len(e.link)))
	head = binary.LittleEndian.AppendUint16(head, uint16(e.mode))
	head = binary.LittleEndian.AppendUint64(head, uint64(e.size))
	head = binary.LittleEndian.AppendUint64(head, uint64(e.mtime.Unix()))
	head = binary.LittleEndian.AppendUint32(head, uint32(e.mtime.Nanosecond()))
	head = binary.LittleEndian.AppendUint32(head, e.uid)
	head = binary.LittleEndian.AppendUint32(head, e.gid)
	_, err := w.Write(head)
	_, nameErr := w.WriteString(e.name)
	_, linkErr := w.WriteString(e.link)
	if e.kind == sparseFile {
		table := binary.LittleEndian.AppendUint32(nil, uint32(len(e.extents)))
		for _, x := range e.extents {
			table = binary.LittleEndian.AppendUint64(table, uint64(x.off))
			table = binary.LittleEndian.AppendUint64(table, uint64(x.length))
		}
		_, err2 := w.Write(table)
		err = errors.Join(err, err2)
	}
	return errors.Join(err, nameErr, linkErr)
}

// readExtents takes a sparse file's table of contents.
func (e *entry) readExtents(r *bufio.Reader) error {
	var word [16]byte
	if _, err := io.ReadFull(r, word[:4]); err != nil {
		return cut(err)
	}
	count := binary.LittleEndian.Uint32(word[:4])
	if count > maxExtents {
		return refuse(e.name, "its content has %d parts, more than %d", count, maxExtents)
	}
	e.extents = make([]extent, 0, min(count, 1024))
	end := int64(0)
	for range count {
		if _, err := io.ReadFull(r, word[:]); err != nil {
			return cut(err)
		}
		x := extent{int64(binary.LittleEndian.Uint64(word[:])), int64(binary.LittleEndian.Uint64(word[8:]))}
		if x.off < end || x.length <= 0 || x.length > e.size-x.off {
			return refuse(e.name, "the parts of its content are not in it, one behind the other")
		}
		end = x.off + x.length
		e.extents = append(e.extents, x)
	}
	return nil
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
	e.uid, e.gid = binary.LittleEndian.Uint32(head[26:]), binary.LittleEndian.Uint32(head[30:])
	at := int(binary.LittleEndian.Uint16(head))
	if _, err := r.Discard(len(head)); err != nil {
		return err
	}
	if _, err := io.ReadFull(r, names); err != nil {
		return cut(err)
	}
	e.name, e.link = string(names[:at]), string(names[at:])
	if e.kind == sparseFile {
		return e.readExtents(r)
	}
	return nil
}

// cut is the error of a stream that ends before its end.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse("", "the stream is truncated")
	}
	return err
}
