// Package image makes disks and initramfs as functions from files to a file, without root: a root file system is
// gathered in memory from tar layers that stay where they are, and written out as EROFS; beside it stand the
// initramfs archive, the empty writable disk and the kernel that boots them.
package image

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// Entry is what a Tree knows about one name.
type Entry struct {
	Mode     fs.FileMode // type, permissions, set-uid, set-gid and sticky bits
	UID, GID int
	ModTime  time.Time
	Link     string            // target of a symbolic link
	Data     []byte            // content of a file given to Add; never set by Lookup and Walk
	Size     int64             // length of the content; set by Lookup and Walk, not read by Add
	Xattrs   map[string]string // extended attributes by their full name
	Major    uint32            // of a device
	Minor    uint32
	Links    int // how many names the file has; set by Lookup and Walk, not read by Add
}

// Tree is a root file system in memory: names, attributes and where each file's content lies. It is not safe for
// concurrent use.
type Tree struct{}

// NewTree returns a tree that holds an empty root directory.
func NewTree() *Tree { return &Tree{} }

// Limits bound what the layers of one Tree may bring in all; a zero field stands for its default.
type Limits struct {
	MaxEntries int64 // entries, 2,000,000
	MaxBytes   int64 // sum of the files' logical sizes, 64 GiB
	MaxPath    int   // bytes in a path, 4096
	MaxMeta    int64 // bytes of names, link targets and extended attributes kept in memory, 512 MiB
}

// ErrLimit is in the chain of each error about a limit; the error names the limit.
var ErrLimit = errors.New("over the limit")

// ApplyOptions says by whose rules a layer is laid over the tree.
type ApplyOptions struct {
	KeepDirLinks bool // dpkg's rules: a directory entry over a link to a directory keeps the link
	Whiteouts    bool // OCI whiteouts delete what lower layers brought
	Devices      bool // keep device nodes, else they are left out
	Limits       Limits
}

var errTODO = errors.New("not written yet")

// Apply lays one uncompressed tar over the tree. The layer must stay readable until the tree was written: content is
// referenced, not copied.
func (t *Tree) Apply(ctx context.Context, layer io.ReaderAt, size int64, o ApplyOptions) error {
	return errTODO
}

// Add puts one synthesised entry in place of whatever has that name, and makes the directories above it.
func (t *Tree) Add(path string, e Entry) error { return errTODO }

// Lookup returns the entry at path; links above it are followed, the last name is not.
func (t *Tree) Lookup(path string) (Entry, bool) { return Entry{}, false }

// Open returns the content of the file at path, following links inside the tree.
func (t *Tree) Open(path string) (io.Reader, error) { return nil, errTODO }

// Walk calls f for each entry below the root in the order of names, a directory before what is in it.
func (t *Tree) Walk(f func(path string, e Entry) error) error { return errTODO }

// EROFSOptions are the parts of an image that do not come from its tree.
type EROFSOptions struct {
	UUID      [16]byte
	BuildTime time.Time
}

// Stats tells what an image holds.
type Stats struct {
	Size    int64 // bytes
	Entries int64 // names, the root included
}

// WriteEROFS writes the tree as an EROFS image to w, which should be empty.
func (t *Tree) WriteEROFS(ctx context.Context, w *os.File, o EROFSOptions) (Stats, error) {
	return Stats{}, errTODO
}

// InitFile is one file, directory or symbolic link (Data is its target) of an initramfs.
type InitFile struct {
	Path string
	Mode fs.FileMode
	Data []byte
}

// WriteInitramfs writes the files as a newc archive, with their parent directories and /dev/console.
func WriteInitramfs(w io.Writer, files []InitFile) error { return errTODO }

// WriteScratch makes an empty ext4 of 128 MiB in a new sparse file of the given size (at least that) at path.
func WriteScratch(path string, size int64) error { return errTODO }

// ExtractKernel returns the ELF kernel that a bzImage carries compressed.
func ExtractKernel(bzImage []byte) ([]byte, error) { return nil, errTODO }
