package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"
)

// errImage is that an image was not made by pyro, or is damaged.
var errImage = errors.New("it is no EROFS image of the kind that is written here")

// ReadEROFS gives the tree of an image that [Tree.WriteEROFS] wrote. Where contents lie is all that is kept
// of them, so that r must stay open as long as the tree is in use. size is the image's, in bytes.
func ReadEROFS(r io.ReaderAt, size int64) (*Tree, error) {
	in := &imageReader{
		r:     r,
		size:  size,
		nodes: map[uint64]*node{},
		tree:  NewTree(),
	}
	in.tree.used.limits = Limits{}.withDefaults()
	super := make([]byte, superSize)
	if err := in.at(super, superOffset); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(super) != superMagic || super[12] != 12 {
		return nil, errImage
	}
	root, err := in.node(uint64(binary.LittleEndian.Uint16(super[14:])))
	if err != nil {
		return nil, err
	}
	if err := in.tree.setRoot(root); err != nil {
		return nil, err
	}
	in.tree.root.body = root.body
	if err := in.directory(in.tree.root, ""); err != nil {
		return nil, fmt.Errorf("cannot read the image: %w", err)
	}
	in.tree.root.body = content{}
	return in.tree, nil
}

// imageReader reads an image. All of it is foreign: nothing is taken for what it should be.
type imageReader struct {
	r     io.ReaderAt
	size  int64
	nodes map[uint64]*node // hard links are names that share one
	tree  *Tree
}

// at fills b with what stands at a place of the image.
func (in *imageReader) at(b []byte, off int64) error {
	if off < 0 || off > in.size-int64(len(b)) {
		return errImage
	}
	_, err := in.r.ReadAt(b, off)
	if err == io.EOF {
		err = nil
	}
	return err
}

// node reads an inode.
func (in *imageReader) node(nid uint64) (*node, error) {
	if n := in.nodes[nid]; n != nil && !n.mode.IsDir() {
		return n, nil
	}
	if nid > uint64(in.size/inodeSlot) {
		return nil, errImage
	}
	var b [inodeSize]byte
	pos := int64(nid) * inodeSlot
	if err := in.at(b[:], pos); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	layout := le.Uint16(b[0:])
	if layout != inodeExtended|layoutPlain && layout != inodeExtended|layoutInline {
		return nil, errImage
	}
	n := &node{
		mode:  goMode(uint32(le.Uint16(b[4:]))),
		uid:   le.Uint32(b[24:]),
		gid:   le.Uint32(b[28:]),
		mtime: time.Unix(int64(le.Uint64(b[32:])), int64(le.Uint32(b[40:]))),
	}
	pos += inodeSize
	attributes := xattrBytes(le.Uint16(b[2:]))
	var err error
	if n.xattrs, err = in.xattrs(pos, attributes); err != nil {
		return nil, err
	}
	pos += attributes
	length, where := le.Uint64(b[8:]), le.Uint32(b[16:])
	if n.mode&fs.ModeDevice != 0 {
		n.major, n.minor = where>>8&0xfff, where&0xff|where>>12&^0xff
	} else if err := in.content(n, length, where, pos, layout == inodeExtended|layoutInline); err != nil {
		return nil, err
	}
	switch n.mode.Type() {
	case fs.ModeDir:
		n.kids = map[string]child{}
	case fs.ModeSymlink:
		if length > maxTarget {
			return nil, errImage
		}
		target := make([]byte, length)
		if _, err := n.body.at.ReadAt(target, n.body.off); err != nil && err != io.EOF {
			return nil, err
		}
		n.link, n.body = string(target), content{}
	}
	in.nodes[nid] = n
	return n, n.check()
}

// content finds where an inode's content lies: whole blocks, and behind the inode what is left over.
func (in *imageReader) content(n *node, length uint64, block uint32, behind int64, inline bool) error {
	if length > uint64(in.size) {
		return errImage
	}
	off, size := int64(block)*blockSize, int64(length)
	whole := size
	if inline {
		whole -= size % blockSize
	}
	if whole > 0 && off > in.size-whole || behind > in.size-(size-whole) {
		return errImage
	}
	switch {
	case whole == size:
		n.body = content{at: in.r, off: off, length: size}
	case whole == 0:
		n.body = content{at: in.r, off: behind, length: size}
	default:
		n.body = content{at: split{in.r, off, whole, behind, size}, length: size}
	}
	return nil
}

// directory reads what is in a directory, whose content its node has, and all below it.
func (in *imageReader) directory(dir *node, path string) error {
	if dir.body.length > maxDirectory {
		return errImage
	}
	data := make([]byte, dir.body.length)
	if len(data) > 0 {
		if _, err := dir.body.at.ReadAt(data, dir.body.off); err != nil && err != io.EOF {
			return err
		}
	}
	for len(data) > 0 {
		block := data[:min(len(data), blockSize)]
		data = data[len(block):]
		if err := in.entries(dir, path, block); err != nil {
			return err
		}
	}
	return nil
}

// maxDirectory bounds a directory's content, in bytes.
const maxDirectory = 256 << 20

// entries reads one block of a directory.
func (in *imageReader) entries(dir *node, path string, block []byte) error {
	le := binary.LittleEndian
	if len(block) < direntSize {
		return errImage
	}
	first := int(le.Uint16(block[8:]))
	if first < direntSize || first > len(block) || first%direntSize != 0 {
		return errImage
	}
	for at := 0; at < first; at += direntSize {
		from, to := int(le.Uint16(block[at+8:])), len(block)
		if at+direntSize < first {
			to = int(le.Uint16(block[at+direntSize+8:]))
		}
		if from < first || to < from || to > len(block) {
			return errImage
		}
		name := string(block[from:to])
		if i := strings.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if name == "." || name == ".." {
			continue
		}
		if name == "" || strings.Contains(name, "/") {
			return errImage
		}
		if err := in.entry(dir, path+"/"+name, name, le.Uint64(block[at:])); err != nil {
			return fmt.Errorf("%q: %w", path+"/"+name, err)
		}
	}
	return nil
}

func (in *imageReader) entry(dir *node, path, name string, nid uint64) error {
	n, err := in.node(nid)
	if err != nil {
		return err
	}
	if _, twice := dir.kids[name]; twice {
		return errImage
	}
	if err := in.tree.put(dir, name, n); err != nil || !n.mode.IsDir() {
		return err
	}
	err = in.directory(n, path)
	n.body = content{}
	return err
}

// goMode is the mode that the kernel has on disk in Go's form.
func goMode(bits uint32) fs.FileMode {
	mode := permissions(int64(bits))
	switch bits & syscall.S_IFMT {
	case syscall.S_IFDIR:
		mode |= fs.ModeDir
	case syscall.S_IFLNK:
		mode |= fs.ModeSymlink
	case syscall.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case syscall.S_IFBLK:
		mode |= fs.ModeDevice
	case syscall.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	return mode
}

// split is a content whose last part lies apart from its whole blocks.
type split struct {
	r      io.ReaderAt
	off    int64 // of the whole blocks
	whole  int64
	behind int64 // where the rest lies
	size   int64
}

// ReadAt reads across both parts.
func (s split) ReadAt(b []byte, off int64) (n int, err error) {
	if off < s.whole {
		n, err = s.r.ReadAt(b[:min(int64(len(b)), s.whole-off)], s.off+off)
		if err != nil || n == len(b) {
			return n, err
		}
	}
	if rest := s.size - off - int64(n); rest > 0 {
		more, err := s.r.ReadAt(b[n:min(int64(len(b)), int64(n)+rest)], s.behind+off+int64(n)-s.whole)
		if n += more; err != nil {
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
