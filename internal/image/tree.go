// Package image makes disks and initramfs as functions from files to a file, without root: a root file system
// is gathered in memory from tar layers that stay where they are, and written out as EROFS; beside it stand
// the initramfs archive, the empty writable disk and the kernel that boots them.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Entry is what a Tree knows about one name.
type Entry struct {
	Mode     fs.FileMode // type, permissions, set-uid, set-gid and sticky bits
	UID, GID int
	ModTime  time.Time         // zero is the epoch
	Link     string            // target of a symbolic link
	Data     []byte            // content of a file given to Add; never set by Lookup and Walk
	Size     int64             // length of the content; set by Lookup and Walk, not read by Add
	Xattrs   map[string]string // extended attributes by their full name
	Major    uint32            // of a device
	Minor    uint32
	Links    int // how many names the file has; set by Lookup and Walk, not read by Add
}

// Tree is a root file system in memory: names, attributes and where each file's content lies. It is not safe
// for concurrent use. After a failed Apply its content is undefined.
type Tree struct {
	root  *node
	layer int // of the entries that are being laid; see child
	used  usage
}

// node is a file of any type. Hard links are names that share one.
type node struct {
	mode         fs.FileMode
	uid, gid     uint32
	mtime        time.Time
	link         string
	major, minor uint32
	xattrs       map[string]string
	body         content
	names        int // how many children of directories are this node

	// Of directories only.
	kids     map[string]child
	parent   *node
	depth    int
	implicit bool // made for what is in it; its own entry, if one comes, sets the attributes
}

// child is a name in a directory. The layer that brought the name is what whiteouts ask for; the file behind
// a hard link may be older than its name.
type child struct {
	*node
	layer int
}

// content is where a file's bytes lie: length bytes of at, from off. Of a sparse file off is where the
// headers begin of an entry that ends somewhere before end, and archive/tar expands it.
type content struct {
	at     io.ReaderAt
	off    int64
	length int64
	sparse bool
	end    int64
}

// maxDepth bounds how deep directories nest, so that walking a tree can recurse.
const maxDepth = 2048

// NewTree returns a tree that holds an empty root directory.
func NewTree() *Tree {
	return &Tree{root: newDir(nil)}
}

func newDir(parent *node) *node {
	n := &node{
		mode:     fs.ModeDir | 0o755,
		kids:     map[string]child{},
		implicit: true,
		names:    1,
	}
	n.adopt(parent)
	return n
}

func (n *node) adopt(parent *node) {
	n.parent = parent
	if parent != nil {
		n.depth = parent.depth + 1
	}
}

// open returns the bytes as they are now in the layer.
func (c content) open() (io.Reader, error) {
	if !c.sparse {
		return io.NewSectionReader(c.at, c.off, c.length), nil
	}
	r := tar.NewReader(io.NewSectionReader(c.at, c.off, c.end-c.off))
	if _, err := r.Next(); err != nil {
		return nil, err
	}
	return r, nil
}

// entry is the public view of n.
func (n *node) entry() Entry {
	e := Entry{
		Mode:    n.mode,
		UID:     int(n.uid),
		GID:     int(n.gid),
		ModTime: n.mtime,
		Link:    n.link,
		Size:    n.body.length,
		Xattrs:  maps.Clone(n.xattrs),
		Major:   n.major,
		Minor:   n.minor,
		Links:   n.names,
	}
	if n.mode.IsDir() {
		e.Links = 2
		for _, kid := range n.kids {
			if kid.mode.IsDir() {
				e.Links++
			}
		}
	}
	return e
}

// Add puts one synthesised entry in place of whatever has that name, and makes the directories above it. A
// directory that is there already keeps its content and gets the entry's attributes.
func (t *Tree) Add(path string, e Entry) error {
	n, err := fromEntry(e)
	if err == nil {
		err = t.add(path, n)
	}
	if err != nil {
		return fmt.Errorf("cannot add %q to the image: %w", path, err)
	}
	return nil
}

func (t *Tree) add(path string, n *node) error {
	dir, base, err := t.place(path)
	if err != nil {
		return err
	}
	if base == "" {
		return t.setRoot(n)
	}
	return t.put(dir, base, n)
}

func fromEntry(e Entry) (*node, error) {
	uid, gid, err := owner(e.UID, e.GID)
	if err != nil {
		return nil, err
	}
	n := &node{
		mode:   e.Mode,
		uid:    uid,
		gid:    gid,
		mtime:  e.ModTime,
		xattrs: maps.Clone(e.Xattrs),
	}
	for name := range n.xattrs {
		if _, _, ok := xattrIndex(name); !ok {
			return nil, fmt.Errorf("the extended attribute %q has no place in an image", name)
		}
	}
	switch e.Mode.Type() {
	case 0:
		n.body = content{at: bytes.NewReader(e.Data), length: int64(len(e.Data))}
	case fs.ModeDir:
		n.kids = map[string]child{}
	case fs.ModeSymlink:
		n.link = e.Link
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		n.major, n.minor = e.Major, e.Minor
	case fs.ModeNamedPipe:
	default:
		return nil, fmt.Errorf("its type %v has no place in an image", e.Mode.Type())
	}
	return n, n.check()
}

// Lookup returns the entry at path; links above it are followed, the last name is not.
func (t *Tree) Lookup(path string) (Entry, bool) {
	path = strings.Trim(path, "/")
	above, base := splitPath(path)
	dir, err := t.find(above, false)
	if err != nil {
		return Entry{}, false
	}
	if base == "" || base == "." {
		return dir.entry(), true
	}
	kid, ok := dir.kids[base]
	if !ok {
		return Entry{}, false
	}
	return kid.entry(), true
}

// Open returns the content of the file at path, following links inside the tree.
func (t *Tree) Open(path string) (io.Reader, error) {
	n, err := t.find(path, false)
	if err == nil && !n.mode.IsRegular() {
		err = fs.ErrInvalid
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return n.body.open()
}

// Walk calls f for each entry below the root in the order of names, a directory before what is in it.
func (t *Tree) Walk(f func(path string, e Entry) error) error {
	return walk(t.root, "", f)
}

func walk(dir *node, prefix string, f func(string, Entry) error) error {
	for _, name := range slices.Sorted(maps.Keys(dir.kids)) {
		kid := dir.kids[name]
		if err := f(prefix+name, kid.entry()); err != nil {
			return err
		}
		if kid.mode.IsDir() {
			if err := walk(kid.node, prefix+name+"/", f); err != nil {
				return err
			}
		}
	}
	return nil
}

// find returns the node at path, following every link as if the root were that of the process. With missing
// directories made, as above an entry, it fails only if something else than a directory is in the way.
func (t *Tree) find(path string, make bool) (*node, error) {
	return t.findFrom(t.root, path, make)
}

func (t *Tree) findFrom(n *node, path string, make bool) (*node, error) {
	if strings.HasPrefix(path, "/") {
		n = t.root
	}
	links := 0
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if name == "" || name == "." {
			continue
		}
		if !n.mode.IsDir() {
			return nil, syscall.ENOTDIR
		}
		if name == ".." {
			if n.parent != nil {
				n = n.parent
			}
			continue
		}
		kid, ok := n.kids[name]
		switch {
		case !ok && !make:
			return nil, fs.ErrNotExist
		case !ok:
			dir := newDir(n)
			if err := t.attach(n, name, dir); err != nil {
				return nil, err
			}
			n = dir
		case kid.mode.Type() == fs.ModeSymlink:
			if links++; links > maxLinks {
				return nil, syscall.ELOOP
			}
			if strings.HasPrefix(kid.link, "/") {
				n = t.root
			}
			rest = kid.link + "/" + rest
		default:
			n = kid.node
		}
	}
	return n, nil
}

// maxLinks is how many links one path may pass, as in the kernel.
const maxLinks = 40
