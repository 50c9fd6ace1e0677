package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// folder is a directory, or an archive that stands for one.
type folder interface {
	open(name string) (io.ReadCloser, error)
	Close() error
}

// directory is a directory of the host that is not left.
type directory struct{ *os.Root }

func (d directory) open(name string) (io.ReadCloser, error) {
	f, err := d.Root.OpenFile(name, os.O_RDONLY|noBlock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no file")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readDocument reads a small file of a folder.
func readDocument(f folder, name string) ([]byte, error) {
	r, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%q has more than the %d bytes allowed", name, maxDocument)
	}
	return data, err
}

// layout is an image in a folder in the OCI image layout.
type layout struct {
	folder
	ref reference
}

func openLayout(ref reference) (origin, error) {
	root, err := os.OpenRoot(ref.path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the image's directory: %w", err)
	}
	return &layout{directory{root}, ref}, nil
}

func openLayoutArchive(ctx context.Context, dir string, ref reference) (origin, error) {
	a, err := openArchive(ctx, dir, ref.path)
	if err != nil {
		return nil, err
	}
	return &layout{a, ref}, nil
}

func (l *layout) close() error { return l.Close() }

// refName is the annotation by which an index names its images.
const refName = "org.opencontainers.image.ref.name"

// find implements origin.
func (l *layout) find(ctx context.Context, architecture string) (found, error) {
	var version struct {
		ImageLayoutVersion string `json:"imageLayoutVersion"`
	}
	data, err := readDocument(l, "oci-layout")
	if err == nil {
		err = json.Unmarshal(data, &version)
	}
	if err != nil {
		return found{}, &failure{text: fmt.Sprintf("%q is no image in the OCI layout: %v", l.ref.path, err),
			cause: err,
			hint:  "an archive made by docker save is docker-archive:FILE"}
	}
	if version.ImageLayoutVersion != "1.0.0" {
		return found{}, fmt.Errorf("%q has the version %.20q of the OCI layout, not 1.0.0", l.ref.path,
			version.ImageLayoutVersion)
	}
	if data, err = readDocument(l, "index.json"); err != nil {
		return found{}, fmt.Errorf("cannot read the index of %q: %w", l.ref.path, err)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return found{}, fmt.Errorf("cannot read the index of %q: %w", l.ref.path, err)
	}
	wanted, err := l.wanted(index.Manifests)
	if err != nil {
		return found{}, err
	}
	next, err := pick(wanted, architecture)
	if err != nil {
		return found{}, err
	}
	if data, err = reader(l.read).get(ctx, next, "manifest"); err != nil {
		return found{}, err
	}
	return choose(ctx, document{data, next.Digest, string(next.MediaType)}, architecture, l.read)
}

// wanted are the entries of the index that the reference names: one image, or one for each platform.
func (l *layout) wanted(all []v1.Descriptor) ([]v1.Descriptor, error) {
	var names []string
	var wanted []v1.Descriptor
	for _, d := range all {
		name := d.Annotations[refName]
		known := slices.ContainsFunc(wanted, func(w v1.Descriptor) bool { return w.Digest == d.Digest })
		if !known && !(attests(d) && l.ref.image == "") &&
			(l.ref.image == "" || l.ref.image == name || l.ref.image == d.Digest.String()) {
			wanted = append(wanted, d)
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, clean(name, 80))
		}
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("%q holds no image %q, only %q", l.ref.path, l.ref.image, names)
	}
	if len(wanted) > 1 && slices.ContainsFunc(wanted,
		func(d v1.Descriptor) bool { return d.Platform == nil }) {
		return nil, &failure{text: fmt.Sprintf("%q holds several images: %q", l.ref.path, names),
			hint: "append :NAME for one of them"}
	}
	return wanted, nil
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

func (l *layout) read(_ context.Context, d v1.Descriptor) ([]byte, error) {
	return readDocument(l, blobPath(d.Digest))
}

// fetch implements origin.
func (l *layout) fetch(_ context.Context, layers []layer, done func(i int, b stored) error) error {
	for i, each := range layers {
		open := func() (io.ReadCloser, error) { return l.open(blobPath(each.digest)) }
		if err := done(i, stored{open: open}); err != nil {
			return err
		}
	}
	return nil
}
