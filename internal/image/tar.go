package image

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// WriteTar writes the tree as one uncompressed tar, as an image's only layer is one. The same tree gives the
// same bytes.
func (t *Tree) WriteTar(ctx context.Context, w io.Writer) error {
	out := &tarWriter{ctx: ctx, tar: tar.NewWriter(w), first: map[*node]string{}}
	err := out.tar.WriteHeader(t.root.header("."))
	if err == nil {
		err = out.directory(t.root, "")
	}
	if err != nil {
		return fmt.Errorf("cannot write the tree as a layer: %w", err)
	}
	return out.tar.Close()
}

// tarWriter writes a tree as a tar.
type tarWriter struct {
	ctx   context.Context
	tar   *tar.Writer
	first map[*node]string // the first name of what has several
}

func (w *tarWriter) directory(dir *node, prefix string) error {
	for _, name := range slices.Sorted(maps.Keys(dir.kids)) {
		kid := dir.kids[name].node
		if err := w.entry(kid, prefix+name); err != nil {
			return fmt.Errorf("%q: %w", prefix+name, err)
		}
		if kid.mode.IsDir() {
			if err := w.directory(kid, prefix+name+"/"); err != nil {
				return err
			}
		}
	}
	return w.ctx.Err()
}

func (w *tarWriter) entry(n *node, path string) error {
	h := n.header(path)
	if first, ok := w.first[n]; ok {
		h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
		return w.tar.WriteHeader(h)
	}
	if n.names > 1 && !n.mode.IsDir() {
		w.first[n] = path
	}
	if err := w.tar.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	body, err := n.body.open()
	if err != nil {
		return err
	}
	_, err = io.CopyN(w.tar, body, n.body.length)
	return err
}

// header is what a tar has of a node.
func (n *node) header(path string) *tar.Header {
	sec, nsec := unixTime(n.mtime)
	h := &tar.Header{
		Format:   tar.FormatPAX,
		Name:     path,
		Mode:     int64(unixMode(n.mode) & 0o7777),
		Uid:      int(n.uid),
		Gid:      int(n.gid),
		ModTime:  time.Unix(int64(sec), int64(nsec)).UTC(),
		Devmajor: int64(n.major),
		Devminor: int64(n.minor),
	}
	for name, value := range n.xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+name] = value
	}
	switch n.mode.Type() {
	case fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, path+"/"
	case fs.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.link
	case fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
	case fs.ModeDevice:
		h.Typeflag = tar.TypeBlock
	case fs.ModeDevice | fs.ModeCharDevice:
		h.Typeflag = tar.TypeChar
	default:
		h.Typeflag, h.Size = tar.TypeReg, n.body.length
	}
	return h
}
