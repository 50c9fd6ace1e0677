package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ToTar writes what Pack sent as a tar in the PAX format, with owners, holes and links of any target.
// Nothing is made on the way.
func ToTar(ctx context.Context, r io.Reader, w io.Writer, l Limits) (Summary, error) {
	t := &converter{
		rules: newRules(l),
		out:   w,
		tar:   tar.NewWriter(w),
		buf:   make([]byte, bufferSize),
	}
	t.links = LinksAny
	in := bufio.NewReaderSize(t.bounded(r, ctx.Err), bufferSize)
	for {
		err := t.next(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Summary{}, fmt.Errorf("cannot write the archive: %w", err)
		}
	}
	return t.sum, t.tar.Close()
}

type converter struct {
	*rules
	out io.Writer
	tar *tar.Writer
	buf []byte
}

func (t *converter) next(in *bufio.Reader) error {
	var e entry
	if err := e.read(in); err != nil {
		return err
	}
	carried, err := t.admit(&e)
	if err != nil || !carried {
		return err
	}
	h := &tar.Header{
		Name:    e.name,
		Mode:    int64(e.mode),
		Uid:     int(e.uid),
		Gid:     int(e.gid),
		ModTime: e.mtime,
		Format:  tar.FormatPAX,
	}
	switch e.kind {
	case directory:
		h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
	case symbolicLink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
	case hardLink:
		h.Typeflag, h.Linkname = tar.TypeLink, e.link
	case sparseFile:
		return t.sparse(in, &e)
	default:
		h.Typeflag, h.Size = tar.TypeReg, e.size
	}
	if err := t.tar.WriteHeader(h); err != nil {
		return err
	}
	return t.copy(t.tar, in, h.Size)
}

func (t *converter) copy(w io.Writer, in *bufio.Reader, n int64) error {
	got, err := io.CopyBuffer(justWriter{w}, io.LimitReader(justReader{in}, n), t.buf)
	if err == nil && got < n {
		err = cut(io.EOF)
	}
	return err
}

// sparse writes a file with holes as GNU tar's format 1.0 has it, which archive/tar reads and does not
// write: the places of the data stand before them, and the header's records say so.
func (t *converter) sparse(in *bufio.Reader, e *entry) error {
	parts := e.extents
	if last := len(parts) - 1; last < 0 || parts[last].off+parts[last].length < e.size {
		parts = append(parts, extent{e.size, 0}) // the hole at the end
	}
	var places strings.Builder
	fmt.Fprintf(&places, "%d\n", len(parts))
	var length int64
	for _, x := range parts {
		fmt.Fprintf(&places, "%d\n%d\n", x.off, x.length)
		length += x.length
	}
	places.WriteString(strings.Repeat("\x00", pad(int64(places.Len()))))
	length += int64(places.Len())
	var records strings.Builder
	for _, r := range [][2]string{
		{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", e.name},
		{"GNU.sparse.realsize", strconv.FormatInt(e.size, 10)}, {"size", strconv.FormatInt(length, 10)},
		{"uid", strconv.Itoa(int(e.uid))}, {"gid", strconv.Itoa(int(e.gid))},
		{"mtime", fmt.Sprintf("%d.%09d", e.mtime.Unix(), e.mtime.Nanosecond())},
	} {
		records.WriteString(record(r[0], r[1]))
	}
	if err := t.tar.Flush(); err != nil {
		return err
	}
	text := records.String()
	head := header("PaxHeaders.0/sparse", 0o644, int64(len(text)), tar.TypeXHeader) + text +
		strings.Repeat("\x00", pad(int64(len(text)))) +
		header("GNUSparseFile.0/file", e.mode, min(length, 1<<33-1), tar.TypeReg) + places.String()
	if _, err := io.WriteString(t.out, head); err != nil {
		return err
	}
	if err := t.copy(t.out, in, length-int64(places.Len())); err != nil {
		return err
	}
	_, err := io.WriteString(t.out, strings.Repeat("\x00", pad(length)))
	return err
}

const tarBlock = 512

// pad is what is missing to a whole block.
func pad(n int64) int { return int((tarBlock - n%tarBlock) % tarBlock) }

// record is one of a PAX header's, with its own length at its beginning.
func record(key, value string) string {
	size := len(key) + len(value) + 3
	for size != len(key)+len(value)+3+len(strconv.Itoa(size)) {
		size = len(key) + len(value) + 3 + len(strconv.Itoa(size))
	}
	return fmt.Sprintf("%d %s=%s\n", size, key, value)
}

// header is a block in the form of ustar.
func header(name string, mode uint32, size int64, typeflag byte) string {
	b := make([]byte, tarBlock)
	copy(b, name)
	copy(b[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00        ", mode, 0, 0, size, 0))
	b[156] = typeflag
	copy(b[257:], "ustar\x0000")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(b)
}
