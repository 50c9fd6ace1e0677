package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
)

// ApplyOptions says by whose rules a layer is laid over the tree.
type ApplyOptions struct {
	// KeepDirLinks selects dpkg's rules: what is a directory already, be it through a link as in a merged
	// /usr, stays that directory with its attributes, whether the entry is a directory or a link. Without it
	// OCI's rules hold: the entry replaces what was there, except that directories merge and take the entry's
	// attributes.
	KeepDirLinks bool
	// Whiteouts gives .wh.NAME and .wh..wh..opq their OCI meaning: they delete what lower layers brought, and
	// nothing that this layer brings. Without it they are files like others.
	Whiteouts bool
	// Unique refuses a layer that has a name twice, as the OCI specification does. Directories may be named
	// again.
	Unique bool
	// Devices keeps device nodes; otherwise they are left out, as are hard links to them.
	Devices bool
	Limits  Limits
	// MaxContent bounds the sum of the logical sizes of the files that this layer has, which its own length
	// does not if files are sparse. Zero is no bound beside the limits.
	MaxContent int64
}

// applier lays one layer.
type applier struct {
	*Tree
	o       ApplyOptions
	r       *layerReader
	devices []omitted
	content int64 // sum of the files' logical sizes
}

// omitted is a name that is to go when the layer is complete: until then hard links may refer to it.
type omitted struct {
	dir  *node
	name string
	node *node
}

// Apply lays one uncompressed tar over the tree. The layer must stay readable until the tree was written:
// content is referenced, not copied. An entry below a link goes where the link leads inside the tree, a hard
// link shares its target's node, a later entry of a name replaces an earlier one, and a path with ".." is
// refused.
func (t *Tree) Apply(ctx context.Context, layer io.ReaderAt, size int64, o ApplyOptions) error {
	t.layer++
	a := &applier{Tree: t, o: o, r: &layerReader{SectionReader: io.NewSectionReader(layer, 0, size)}}
	t.used.limits = o.Limits.withDefaults()
	tr := tar.NewReader(a.r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		a.r.armed = true
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot read the layer at byte %d: %w", a.r.mark, err)
		}
		if err := a.entry(h, layer, size); err != nil {
			return fmt.Errorf("cannot lay layer entry %q: %w", h.Name, err)
		}
	}
	for _, d := range a.devices {
		if kid, ok := d.dir.kids[d.name]; ok && kid.node == d.node {
			t.detach(d.dir, d.name)
		}
	}
	return nil
}

// layerReader remembers where the headers of an entry begin. archive/tar reads them in whole blocks, after it
// has skipped what was left of the entry before in another way.
type layerReader struct {
	*io.SectionReader
	armed bool
	mark  int64
}

const tarBlock = 512

func (r *layerReader) Read(p []byte) (int, error) {
	if r.armed && len(p) >= tarBlock {
		r.mark, _ = r.Seek(0, io.SeekCurrent)
		r.armed = false
	}
	return r.SectionReader.Read(p)
}

func (a *applier) entry(h *tar.Header, layer io.ReaderAt, size int64) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return a.used.entry(0)
	}
	if a.o.Whiteouts {
		if done, err := a.whiteout(h.Name); done || err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeLink {
		return a.hardLink(h)
	}
	n, err := fromHeader(h)
	if err != nil {
		return err
	}
	if n.mode.IsRegular() {
		if a.o.MaxContent > 0 && h.Size > a.o.MaxContent-a.content {
			return fmt.Errorf("%w of %d bytes that a layer of its size may unfold to", ErrLimit,
				a.o.MaxContent)
		}
		a.content += h.Size
		off, err := a.r.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		n.body = content{at: layer, off: off, length: h.Size}
		if isSparse(h) {
			n.body = content{
				at:     layer,
				off:    a.r.mark,
				length: h.Size,
				sparse: true,
				end:    size,
			}
		}
	}
	dir, base, err := a.place(h.Name)
	if err != nil {
		return err
	}
	if base == "" {
		if a.o.KeepDirLinks && !a.root.implicit {
			return a.used.entry(0)
		}
		return a.setRoot(n)
	}
	if a.o.KeepDirLinks && (n.mode.IsDir() || n.mode.Type() == fs.ModeSymlink) && a.keepDir(dir, base, n) {
		return a.used.entry(0)
	}
	if n.mode&fs.ModeDevice != 0 && !a.o.Devices {
		a.devices = append(a.devices, omitted{dir, base, n})
	}
	return a.enter(dir, base, n)
}

// keepDir tells whether dpkg would leave the directory that it finds at the entry's name.
func (a *applier) keepDir(dir *node, base string, n *node) bool {
	kid, ok := dir.kids[base]
	if !ok {
		return false
	}
	if kid.mode.IsDir() {
		if n.mode.IsDir() && kid.implicit {
			kid.take(n)
		}
		return true
	}
	if kid.mode.Type() != fs.ModeSymlink || !n.mode.IsDir() {
		return false
	}
	there, err := a.findFrom(dir, kid.link, false)
	return err == nil && there.mode.IsDir()
}

func (a *applier) hardLink(h *tar.Header) error {
	above, base, err := cleanPath(h.Linkname, a.used.limits.MaxPath)
	if err != nil {
		return fmt.Errorf("its hard link target %q: %w", h.Linkname, err)
	}
	from, err := a.find(above, false)
	if err != nil {
		return fmt.Errorf("its hard link target %q: %w", h.Linkname, err)
	}
	target, ok := from.kids[base]
	switch {
	case !ok:
		return fmt.Errorf("its hard link target %q is not there", h.Linkname)
	case target.mode.IsDir():
		return fmt.Errorf("its hard link target %q is a directory", h.Linkname)
	}
	dir, base, err := a.place(h.Name)
	if err != nil {
		return err
	}
	if base == "" {
		return errors.New("a hard link cannot replace the root")
	}
	if target.mode&fs.ModeDevice != 0 && !a.o.Devices {
		a.devices = append(a.devices, omitted{dir, base, target.node})
	}
	return a.enter(dir, base, target.node)
}

// enter gives n its name in dir.
func (a *applier) enter(dir *node, base string, n *node) error {
	if kid, ok := dir.kids[base]; ok && a.o.Unique && kid.layer == a.layer &&
		!(kid.mode.IsDir() && n.mode.IsDir()) {
		return errors.New("the layer has this name twice")
	}
	return a.put(dir, base, n)
}

// Names with a meaning in OCI layers.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// whiteout deletes what name says, if it says so. A whiteout in a directory that is not there deletes
// nothing.
func (a *applier) whiteout(name string) (bool, error) {
	above, base, err := cleanPath(name, a.used.limits.MaxPath)
	if err != nil || !strings.HasPrefix(base, whiteoutPrefix) {
		return false, err
	}
	if err := a.used.entry(0); err != nil {
		return true, err
	}
	victim := strings.TrimPrefix(base, whiteoutPrefix)
	if victim == "" || victim == "." || victim == ".." {
		return true, errors.New("it is a whiteout of nothing")
	}
	dir, err := a.find(above, false)
	if err != nil || !dir.mode.IsDir() {
		return true, nil
	}
	switch {
	case base == whiteoutOpaque:
		for name := range maps.Clone(dir.kids) {
			a.prune(dir, name)
		}
	case strings.HasPrefix(base, whiteoutMeta): // bookkeeping of AUFS
	default:
		a.prune(dir, victim)
	}
	return true, nil
}

// prune deletes what lower layers brought at name and below it. A directory that stays only for what this
// layer has in it loses the attributes that the lower layer gave it.
func (a *applier) prune(dir *node, name string) {
	kid, ok := dir.kids[name]
	if !ok {
		return
	}
	for name := range maps.Clone(kid.kids) {
		a.prune(kid.node, name)
	}
	switch {
	case kid.layer == a.layer:
	case len(kid.kids) == 0:
		a.detach(dir, name)
	default:
		kid.take(newDir(nil))
		dir.kids[name] = child{kid.node, a.layer}
	}
}
