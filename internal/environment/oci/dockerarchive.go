package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"bytes"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dockerArchive is an image in an archive as docker save writes it.
type dockerArchive struct {
	*archive
	ref reference
}

func openDockerArchive(ctx context.Context, dir string, ref reference) (origin, error) {
	a, err := openArchive(ctx, dir, ref.path)
	if err != nil {
		return nil, err
	}
	return &dockerArchive{a, ref}, nil
}

func (a *dockerArchive) close() error { return a.Close() }

// saved is an image in such an archive's manifest.json.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// find implements origin. The digest of such an image is that of its configuration.
func (a *dockerArchive) find(_ context.Context, architecture string) (found, error) {
	var all []saved
	data, err := readDocument(a, "manifest.json")
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return found{}, &failure{text: fmt.Sprintf("%q is no archive as docker save writes it: %v",
			a.ref.path, err), cause: err,
			hint: "one in the OCI layout is oci-archive:FILE"}
	}
	one, err := a.wanted(all)
	if err != nil {
		return found{}, err
	}
	if data, err = readDocument(a, one.Config); err != nil {
		return found{}, fmt.Errorf("cannot read the image's configuration: %w", err)
	}
	f := found{}
	if f.config, err = readConfig(data, architecture); err != nil {
		return found{}, err
	}
	if f.digest, _, err = v1.SHA256(bytes.NewReader(data)); err != nil {
		return found{}, err
	}
	f.manifest = f.digest
	for _, name := range one.Layers {
		size, err := a.size(name)
		if err != nil {
			return found{}, fmt.Errorf("cannot find a layer: %w", err)
		}
		f.layers = append(f.layers, layer{mediaType: string(types.DockerUncompressedLayer), file: name,
			size: size})
	}
	return f, f.pair()
}

func (a *dockerArchive) wanted(all []saved) (saved, error) {
	var names []string
	for _, s := range all {
		if a.ref.image != "" && slices.ContainsFunc(s.RepoTags, func(tag string) bool {
			return sameImage(tag, a.ref.image)
		}) {
			return s, nil
		}
		names = append(names, s.RepoTags...)
	}
	switch {
	case len(all) == 0:
		return saved{}, errors.New("the archive holds no image")
	case a.ref.image != "":
		return saved{}, fmt.Errorf("%q holds no image %q, only %.200q", a.ref.path, a.ref.image, names)
	case len(all) > 1:
		return saved{}, &failure{text: fmt.Sprintf("%q holds several images: %.200q", a.ref.path, names),
			hint: "append :NAME for one of them"}
	}
	return all[0], nil
}

// sameImage tells whether two names, short or full, are those of one image.
func sameImage(a, b string) bool {
	x, errX := parseRemote(a)
	y, errY := parseRemote(b)
	return errX == nil && errY == nil && x.full == y.full
}

// fetch implements origin.
func (a *dockerArchive) fetch(_ context.Context, layers []layer, done func(i int, b stored) error) error {
	for i, each := range layers {
		open := func() (io.ReadCloser, error) { return a.open(each.file) }
		if err := done(i, stored{open: open}); err != nil {
			return err
		}
	}
	return nil
}
