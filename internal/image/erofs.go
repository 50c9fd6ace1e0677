package image

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"time"
)

// EROFSOptions are the parts of an image that do not come from its tree.
type EROFSOptions struct {
	UUID      [16]byte
	BuildTime time.Time
	// Mappable has each file's content in whole blocks, so that a reader in user space can map it, and
	// leaves out extended attributes. It takes more room.
	Mappable bool
}

// Stats tells what an image holds.
type Stats struct {
	Size    int64 // bytes
	Entries int64 // names, the root included
}

// The on-disk format, as far as it is used here: https://docs.kernel.org/filesystems/erofs.html and the
// kernel's fs/erofs/erofs_fs.h. Blocks have 4 KiB, which is all that kernel 6.1 reads on amd64; inodes are
// the extended ones of 64 bytes, since only they hold a time each and 32-bit owners; content is
// uncompressed and contiguous, its last part beside the inode if that fits.
const (
	blockSize = 4096

	superOffset = 1024
	superSize   = 128
	superMagic  = 0xE0F5E1E2

	compatChecksum = 1 << 0
	compatMtime    = 1 << 1

	inodeSlot     = 32 // the unit in which inodes are numbered
	inodeSize     = 64
	inodeExtended = 1
	layoutPlain   = 0 << 1
	layoutInline  = 2 << 1

	noBlock = math.MaxUint32
)

// inode is a node with its place in the image.
type inode struct {
	*node
	parent *inode
	name   string // its first, for errors and, with parent, for "..
	number uint32
	links  uint32

	xattrs []byte // encoded
	kids   []dirEntry
	size   int64 // of the content: of directories as encoded, of links the target's
	inline bool  // the content's last part lies behind the inode
	pos    int64 // of the inode in the image
	block  uint32
}

func (n *inode) nid() uint64 { return uint64(n.pos / inodeSlot) }

// tail is how much of the content lies behind the inode.
func (n *inode) tail() int64 {
	if n.inline {
		return n.size % blockSize
	}
	return 0
}

// blocks is how many whole blocks hold the rest.
func (n *inode) blocks() int64 {
	return (n.size - n.tail() + blockSize - 1) / blockSize
}

func (n *inode) path() string {
	if n.parent == n {
		return "/"
	}
	if n.parent.parent == n.parent {
		return n.name
	}
	return n.parent.path() + "/" + n.name
}

// erofs is an image that is being laid out and written.
type erofs struct {
	inodes []*inode // in the order in which they lie
	shared map[*node]*inode
	names  int64
	end    int64 // of what is laid out so far

	mappable bool // see EROFSOptions
}

// WriteEROFS writes the tree as an EROFS image in place of what w holds. Where everything lies is settled
// first, from sizes alone; then the image is written from front to back, reading each file's content once.
// The same tree and options give the same bytes.
func (t *Tree) WriteEROFS(ctx context.Context, w *os.File, o EROFSOptions) (Stats, error) {
	img := &erofs{shared: map[*node]*inode{}, names: 1, mappable: o.Mappable}
	root := img.inode(t.root, nil, "")
	img.collect(root)
	if err := img.layOut(); err != nil {
		return Stats{}, fmt.Errorf("cannot lay out the image: %w", err)
	}
	out, err := newOutput(ctx, w)
	if err == nil {
		err = img.write(out, root, o)
	}
	if err != nil {
		return Stats{}, fmt.Errorf("cannot write image %q: %w", w.Name(), err)
	}
	return Stats{Size: img.end, Entries: img.names}, nil
}

func (img *erofs) inode(n *node, parent *inode, name string) *inode {
	made := &inode{
		node:   n,
		parent: parent,
		name:   name,
		number: uint32(len(img.inodes) + 1),
		links:  1,
	}
	if parent == nil {
		made.parent = made
	}
	if n.mode.IsDir() {
		made.links = 2
	}
	if !img.mappable {
		made.xattrs = encodeXattrs(n.xattrs)
	}
	img.inodes = append(img.inodes, made)
	return made
}

// collect makes the inodes below dir: those of one directory side by side, since they are read together.
func (img *erofs) collect(dir *inode) {
	names := slices.Sorted(maps.Keys(dir.node.kids))
	dir.kids = make([]dirEntry, 0, len(names)+2)
	dir.kids = append(dir.kids, dirEntry{".", dir}, dirEntry{"..", dir.parent})
	for _, name := range names {
		kid := dir.node.kids[name].node
		n := img.shared[kid]
		if n == nil {
			n = img.inode(kid, dir, name)
			if kid.names > 1 {
				img.shared[kid] = n
			}
		} else {
			n.links++
		}
		if kid.mode.IsDir() {
			dir.links++
		}
		dir.kids = append(dir.kids, dirEntry{name, n})
	}
	img.names += int64(len(names))
	for _, kid := range dir.kids[2:] {
		if kid.mode.IsDir() {
			img.collect(kid.inode)
		}
	}
	slices.SortFunc(dir.kids, compareNames)
}

// layOut gives each inode its place, then each content.
func (img *erofs) layOut() error {
	img.end = blockSize // the superblock has one of its own, since its checksum covers all of it
	for _, n := range img.inodes {
		switch n.mode.Type() {
		case 0:
			n.size = n.body.length
		case fs.ModeDir:
			n.size = dirSize(n.kids)
		case fs.ModeSymlink:
			n.size = int64(len(n.link))
		}
		fixed := inodeSize + int64(len(n.xattrs))
		tail := n.size % blockSize
		plain := n.body.sparse || img.mappable && n.mode.IsRegular()
		n.inline = tail > 0 && fixed+tail <= blockSize && !plain
		img.end = align(img.end, inodeSlot)
		room := blockSize - img.end%blockSize
		if need := min(fixed+n.tail(), blockSize); room < need && (n.inline || room < inodeSize) {
			img.end += room
		}
		n.pos = img.end
		img.end += fixed + n.tail()
	}
	img.end = align(img.end, blockSize)
	for _, dirs := range []bool{true, false} { // directories first: they are read most
		for _, n := range img.inodes {
			if n.mode.IsDir() == dirs {
				if err := img.layOutBlocks(n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (img *erofs) layOutBlocks(n *inode) error {
	n.block = noBlock
	blocks := n.blocks()
	if blocks == 0 {
		return nil
	}
	first := img.end / blockSize
	if blocks > noBlock-1-first {
		return fmt.Errorf("%q does not fit: more than %d blocks", n.path(), uint32(noBlock))
	}
	n.block = uint32(first)
	img.end += blocks * blockSize
	return nil
}

func align(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

func (img *erofs) write(out *output, root *inode, o EROFSOptions) error {
	if err := out.write(img.superblock(root, o)); err != nil {
		return err
	}
	for _, n := range img.inodes {
		if err := n.writeInode(out); err != nil {
			return fmt.Errorf("%q: %w", n.path(), err)
		}
	}
	for _, dirs := range []bool{true, false} {
		for _, n := range img.inodes {
			if n.mode.IsDir() != dirs || n.blocks() == 0 {
				continue
			}
			if err := n.writeBlocks(out); err != nil {
				return fmt.Errorf("%q: %w", n.path(), err)
			}
		}
	}
	return out.finish(img.end)
}

// superblock is the image's first block.
func (img *erofs) superblock(root *inode, o EROFSOptions) []byte {
	b := make([]byte, blockSize)
	s := b[superOffset : superOffset+superSize]
	sec, nsec := unixTime(o.BuildTime)
	le := binary.LittleEndian
	le.PutUint32(s[0:], superMagic)
	le.PutUint32(s[8:], compatChecksum|compatMtime)
	s[12] = 12 // log2 of the block size
	le.PutUint16(s[14:], uint16(root.nid()))
	le.PutUint64(s[16:], uint64(len(img.inodes)))
	le.PutUint64(s[24:], sec)
	le.PutUint32(s[32:], nsec)
	le.PutUint32(s[36:], uint32(img.end/blockSize))
	copy(s[48:], o.UUID[:])
	// The kernel's crc32c begins with all ones like Go's, but does not invert the result.
	sum := ^crc32.Checksum(b[superOffset:], crc32.MakeTable(crc32.Castagnoli))
	le.PutUint32(s[4:], sum)
	return b
}

// writeInode writes the inode, its attributes and what of its content lies behind them.
func (n *inode) writeInode(out *output) error {
	if err := out.zero(n.pos); err != nil {
		return err
	}
	var b [inodeSize]byte
	le := binary.LittleEndian
	format := uint16(inodeExtended | layoutPlain)
	if n.inline {
		format = inodeExtended | layoutInline
	}
	where := n.block
	if n.mode&fs.ModeDevice != 0 {
		where = n.minor&0xff | n.major<<8 | n.minor&^0xff<<12
	}
	sec, nsec := unixTime(n.mtime)
	le.PutUint16(b[0:], format)
	le.PutUint16(b[2:], xattrCount(n.xattrs))
	le.PutUint16(b[4:], uint16(unixMode(n.mode)))
	le.PutUint64(b[8:], uint64(n.size))
	le.PutUint32(b[16:], where)
	le.PutUint32(b[20:], n.number)
	le.PutUint32(b[24:], n.uid)
	le.PutUint32(b[28:], n.gid)
	le.PutUint64(b[32:], sec)
	le.PutUint32(b[40:], nsec)
	le.PutUint32(b[44:], n.links)
	if err := out.write(b[:]); err != nil {
		return err
	}
	if err := out.write(n.xattrs); err != nil || !n.inline {
		return err
	}
	return n.writeContent(out, n.size-n.tail(), n.tail())
}

// writeBlocks writes the whole blocks of the content.
func (n *inode) writeBlocks(out *output) error {
	if err := out.zero(int64(n.block) * blockSize); err != nil {
		return err
	}
	return n.writeContent(out, 0, n.size-n.tail())
}

// writeContent writes the length bytes from off of a file, link or directory.
func (n *inode) writeContent(out *output, off, length int64) error {
	switch {
	case n.mode.IsDir():
		return writeDir(out, n.kids, off, length)
	case n.mode.Type() == fs.ModeSymlink:
		return out.write([]byte(n.link[off : off+length]))
	case n.body.sparse:
		r, err := n.body.open()
		if err != nil {
			return err
		}
		return out.stream(io.LimitReader(r, length), length)
	default:
		return out.section(n.body.at, n.body.off+off, length)
	}
}
