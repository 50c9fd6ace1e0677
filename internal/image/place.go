package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
)

// maxName is the longest name that Linux has.
const maxName = 255

// Limits bound what the layers of one Tree may bring in all; a zero field stands for its default.
type Limits struct {
	MaxEntries int64 // entries and the directories made for them, 2,000,000
	MaxBytes   int64 // sum of the files' logical sizes, 64 GiB
	MaxPath    int   // bytes in a path, 4096
	MaxMeta    int64 // bytes of names, link targets and extended attributes kept in memory, 512 MiB
}

// ErrLimit is in the chain of each error about a limit; the error names the limit.
var ErrLimit = errors.New("over the limit")

func (l Limits) withDefaults() Limits {
	if l.MaxEntries == 0 {
		l.MaxEntries = 2_000_000
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = 64 << 30
	}
	if l.MaxPath == 0 {
		l.MaxPath = 4096
	}
	if l.MaxMeta == 0 {
		l.MaxMeta = 512 << 20
	}
	return l
}

// usage is what a tree has taken of its limits. What is deleted again stays counted.
type usage struct {
	limits               Limits
	entries, bytes, meta int64
}

// entry counts one entry that keeps meta bytes in memory.
func (u *usage) entry(meta int) error {
	u.entries++
	u.meta += int64(meta)
	if u.limits.MaxEntries > 0 && u.entries > u.limits.MaxEntries {
		return fmt.Errorf("%w of %d entries", ErrLimit, u.limits.MaxEntries)
	}
	if u.limits.MaxMeta > 0 && u.meta > u.limits.MaxMeta {
		return fmt.Errorf("%w of %d bytes of names and attributes (MaxMeta)", ErrLimit, u.limits.MaxMeta)
	}
	return nil
}

func (u *usage) content(size int64) error {
	if u.limits.MaxBytes > 0 && size > u.limits.MaxBytes-u.bytes {
		return fmt.Errorf("%w of %d bytes of content", ErrLimit, u.limits.MaxBytes)
	}
	u.bytes += size
	return nil
}

// cleanPath brings an archive's path into the form that find wants and cuts off the last name, which is empty
// for the root itself.
func cleanPath(path string, limit int) (above, base string, err error) {
	if limit > 0 && len(path) > limit {
		return "", "", fmt.Errorf("%w of %d bytes in a path (MaxPath)", ErrLimit, limit)
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			return "", "", errors.New(`a path with ".." is refused`)
		case len(part) > maxName:
			return "", "", fmt.Errorf("a name of %d bytes is too long", len(part))
		case strings.IndexByte(part, 0) >= 0:
			return "", "", errors.New("a name with a zero byte is refused")
		default:
			parts = append(parts, part)
		}
	}
	above, base = splitPath(strings.Join(parts, "/"))
	return above, base, nil
}

func splitPath(path string) (above, base string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// place finds the directory that an entry goes to, and makes it if need be.
func (t *Tree) place(path string) (dir *node, base string, err error) {
	above, base, err := cleanPath(path, t.used.limits.MaxPath)
	if err != nil {
		return nil, "", err
	}
	dir, err = t.find(above, true)
	if err == nil && !dir.mode.IsDir() {
		err = errors.New("what is above it is not a directory")
	}
	return dir, base, err
}

// put gives n a name in dir in place of whatever has it; directories merge.
func (t *Tree) put(dir *node, name string, n *node) error {
	old, ok := dir.kids[name]
	if ok && old.mode.IsDir() && n.mode.IsDir() {
		old.take(n)
		dir.kids[name] = child{old.node, t.layer}
		return t.used.entry(n.meta())
	}
	if ok && old.node == n {
		dir.kids[name] = child{n, t.layer}
		return t.used.entry(0)
	}
	if n.mode.IsDir() {
		n.adopt(dir)
	}
	n.names++
	if ok {
		t.detach(dir, name)
	}
	return t.attach(dir, name, n)
}

// attach enters a counted node under a free name.
func (t *Tree) attach(dir *node, name string, n *node) error {
	if len(name) > maxName {
		return fmt.Errorf("a name of %d bytes is too long", len(name))
	}
	if n.mode.IsDir() && n.depth > maxDepth {
		return fmt.Errorf("%w of %d nested directories", ErrLimit, maxDepth)
	}
	if err := t.used.entry(len(name) + n.meta()); err != nil {
		return err
	}
	dir.kids[name] = child{n, t.layer}
	if n.names > 1 {
		return nil
	}
	return t.used.content(n.body.length)
}

// detach removes a name and all below it.
func (t *Tree) detach(dir *node, name string) {
	kid := dir.kids[name]
	delete(dir.kids, name)
	kid.names--
	for name := range kid.kids {
		t.detach(kid.node, name)
	}
}

func (t *Tree) setRoot(n *node) error {
	if !n.mode.IsDir() {
		return errors.New("only a directory can be the root")
	}
	t.root.take(n)
	return t.used.entry(n.meta())
}

// take gives a directory the attributes of another.
func (n *node) take(from *node) {
	n.mode, n.uid, n.gid, n.mtime = from.mode, from.uid, from.gid, from.mtime
	n.xattrs, n.implicit = from.xattrs, from.implicit
}

// meta is about how many bytes the node keeps in memory beyond its fixed part.
func (n *node) meta() int {
	sum := len(n.link)
	for name, value := range n.xattrs {
		sum += len(name) + len(value)
	}
	return sum
}

// check refuses what the file system could not hold.
func (n *node) check() error {
	if n.mode.Type() == fs.ModeSymlink &&
		(n.link == "" || len(n.link) > maxTarget || strings.IndexByte(n.link, 0) >= 0) {
		return fmt.Errorf("a link target of %d bytes is refused", len(n.link))
	}
	if size := xattrSize(n.xattrs); size > maxXattrs {
		return fmt.Errorf("%d bytes of extended attributes are too many", size)
	}
	return nil
}

// maxTarget is the longest target of a link that Linux resolves.
const maxTarget = 4095

func owner(uid, gid int) (uint32, uint32, error) {
	if uid < 0 || gid < 0 || int64(uid) > math.MaxUint32 || int64(gid) > math.MaxUint32 {
		return 0, 0, fmt.Errorf("its owner %d:%d is not a number that Linux has", uid, gid)
	}
	return uint32(uid), uint32(gid), nil
}

const xattrRecord = "SCHILY.xattr."

// fromHeader makes the node that a header describes, without its content.
func fromHeader(h *tar.Header) (*node, error) {
	uid, gid, err := owner(h.Uid, h.Gid)
	if err != nil {
		return nil, err
	}
	n := &node{
		mode:  permissions(h.Mode),
		uid:   uid,
		gid:   gid,
		mtime: h.ModTime,
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
	case tar.TypeDir:
		n.mode |= fs.ModeDir
		n.kids = map[string]child{}
	case tar.TypeSymlink:
		n.mode |= fs.ModeSymlink
		n.link = h.Linkname
	case tar.TypeChar, tar.TypeBlock:
		n.mode |= fs.ModeDevice
		if h.Typeflag == tar.TypeChar {
			n.mode |= fs.ModeCharDevice
		}
		if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 {
			return nil, fmt.Errorf("its device number %d:%d is not one that Linux has", h.Devmajor,
				h.Devminor)
		}
		n.major, n.minor = uint32(h.Devmajor), uint32(h.Devminor)
	case tar.TypeFifo:
		n.mode |= fs.ModeNamedPipe
	default:
		return nil, fmt.Errorf("its type %q is unknown", h.Typeflag)
	}
	n.xattrs = layerXattrs(h.PAXRecords)
	return n, n.check()
}

// layerXattrs picks the extended attributes out of a header's records. What an image cannot hold is left out,
// as on any file system that lacks the name space, and so are overlayfs's own, which would act upon the
// guest's overlay.
func layerXattrs(records map[string]string) map[string]string {
	var xattrs map[string]string
	for key, value := range records {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok || strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		if _, _, ok := xattrIndex(name); !ok {
			continue
		}
		if xattrs == nil {
			xattrs = map[string]string{}
		}
		xattrs[name] = value
	}
	return xattrs
}

// isSparse tells whether archive/tar expands the entry, so that its bytes do not lie in the layer as they are
// read.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}
