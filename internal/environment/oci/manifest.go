package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Bounds of what describes an image.
const (
	maxDocument = 4 << 20 // bytes of a manifest, an index or a configuration
	maxLayers   = 1000
	maxStored   = 64 << 30 // bytes of all layers as they are stored
	maxNesting  = 3        // of indexes
)

// document is a manifest or an index. Its digest has been verified, or was made from it.
type document struct {
	data      []byte
	digest    v1.Hash
	mediaType string
}

// manifestTypes are what a registry is asked for.
var manifestTypes = [...]types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex,
	types.DockerManifestSchema2, types.DockerManifestList}

// layerTypes are the layers that can be read. How they are compressed is seen in their first bytes.
var layerTypes = [...]types.MediaType{
	types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.OCIRestrictedLayer,
	types.OCIUncompressedRestrictedLayer,
	types.DockerLayer, types.DockerUncompressedLayer, types.DockerForeignLayer,
	"application/vnd.docker.image.rootfs.diff.tar.zstd",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
}

func isManifest(t types.MediaType) bool {
	return t == types.OCIManifestSchema1 || t == types.DockerManifestSchema2
}
func isIndex(t types.MediaType) bool {
	return t == types.OCIImageIndex || t == types.DockerManifestList
}

// reader returns what a descriptor describes, not verified yet.
type reader func(context.Context, v1.Descriptor) ([]byte, error)

// get returns what a descriptor describes.
func (read reader) get(ctx context.Context, d v1.Descriptor, what string) ([]byte, error) {
	if d.Size < 0 || d.Size > maxDocument {
		return nil, fmt.Errorf("its %s has %d bytes, more than the %d allowed", what, d.Size, maxDocument)
	}
	data, err := read(ctx, d)
	if err != nil {
		return nil, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if digest != d.Digest || size != d.Size {
		return nil, fmt.Errorf("its %s is %s with %d bytes where %s with %d bytes is referred to: it was "+
			"damaged or changed",
			what, digest, size, d.Digest, d.Size)
	}
	return data, nil
}

// shape is what manifests and indexes have in common, to tell them apart.
type shape struct {
	SchemaVersion int64           `json:"schemaVersion"`
	MediaType     types.MediaType `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Layers        json.RawMessage `json:"layers"`
}

func (d document) kind() (types.MediaType, error) {
	var s shape
	if err := json.Unmarshal(d.data, &s); err != nil {
		return "", fmt.Errorf("its manifest cannot be read: %w", err)
	}
	if s.SchemaVersion == 1 {
		return "", errSchema1
	}
	if s.MediaType != "" {
		return s.MediaType, nil
	}
	switch {
	case s.Manifests != nil && s.Layers != nil:
		return "", errors.New("its manifest could be an index as well")
	case s.Manifests != nil:
		return types.OCIImageIndex, nil
	case s.Layers != nil:
		return types.OCIManifestSchema1, nil
	}
	return types.MediaType(d.mediaType), nil
}

// choose goes from a manifest or an index to the image of the architecture, and reads its configuration.
func choose(ctx context.Context, top document, architecture string, read reader) (found, error) {
	at := top
	for range maxNesting {
		kind, err := at.kind()
		switch {
		case err != nil:
			return found{}, err
		case isManifest(kind):
			f, err := readImage(ctx, at, architecture, read)
			f.digest = top.digest
			return f, err
		case !isIndex(kind):
			return found{}, fmt.Errorf("it is no container image but %q", clean(string(kind), 100))
		}
		index, err := v1.ParseIndexManifest(bytes.NewReader(at.data))
		if err != nil {
			return found{}, fmt.Errorf("its index cannot be read: %w", err)
		}
		next, err := pick(index.Manifests, architecture)
		if err != nil {
			return found{}, err
		}
		if at.data, err = read.get(ctx, next, "manifest"); err != nil {
			return found{}, err
		}
		at.digest, at.mediaType = next.Digest, string(next.MediaType)
	}
	return found{}, fmt.Errorf("its indexes are nested more than %d deep", maxNesting)
}

// errSchema1 is about images that are named by layers' own checksums and have no configuration.
var errSchema1 = errors.New("it is in Docker's first manifest format (schema 1), which is not supported: " +
	"push it again with a newer tool")

func isSchema1(t types.MediaType) bool {
	return t == types.DockerManifestSchema1 || t == types.DockerManifestSchema1Signed
}

// says tells whether a descriptor says for what platform its image is.
func says(p *v1.Platform) bool { return p != nil && (p.OS != "" || p.Architecture != "") }

// attests tells whether a descriptor is of something about another image: what it was built from, a
// signature.
func attests(d v1.Descriptor) bool {
	return says(d.Platform) && d.Platform.OS == "unknown" ||
		d.Annotations["vnd.docker.reference.type"] != "" ||
		d.ArtifactType != "" && d.ArtifactType != string(types.OCIConfigJSON) &&
			d.ArtifactType != string(types.DockerConfigJSON)
}

// pick finds the image for Linux on the architecture. Of several variants it takes the one that asks least of
// the processor. An image that does not say what it is for is taken if there is only one: its configuration
// tells.
func pick(all []v1.Descriptor, architecture string) (v1.Descriptor, error) {
	var fit, unsaid []v1.Descriptor
	var others []string
	old := false
	for _, d := range all {
		p := d.Platform
		switch {
		case isSchema1(d.MediaType):
			old = true
		case attests(d) || !isManifest(d.MediaType) && !isIndex(d.MediaType):
		case !says(p):
			unsaid = append(unsaid, d)
		case p.OS == "linux" && p.Architecture == architecture:
			fit = append(fit, d)
		default:
			others = append(others, clean(p.String(), 40))
		}
	}
	slices.Sort(others)
	others = slices.Compact(others)
	switch {
	case len(fit) > 0:
		return slices.MinFunc(fit, func(a, b v1.Descriptor) int {
			return cmp.Compare(variant(a), variant(b))
		}), nil
	case len(unsaid) == 1:
		return unsaid[0], nil
	case len(unsaid) > 1:
		return v1.Descriptor{}, fmt.Errorf(
			"its index has %d images that do not say what platform they are for", len(unsaid))
	case len(others) > 0:
		return v1.Descriptor{}, fmt.Errorf("it is not there for linux/%s, only for %q", architecture, others)
	case old:
		return v1.Descriptor{}, errSchema1
	}
	return v1.Descriptor{}, fmt.Errorf("its index holds no image, for linux/%s or any other platform",
		architecture)
}

func variant(d v1.Descriptor) string {
	if d.Platform == nil {
		return ""
	}
	return d.Platform.Variant
}

// readImage reads an image's manifest and its configuration.
func readImage(ctx context.Context, d document, architecture string, read reader) (found, error) {
	m, err := v1.ParseManifest(bytes.NewReader(d.data))
	if err != nil {
		return found{}, fmt.Errorf("its manifest cannot be read: %w", err)
	}
	if t := m.Config.MediaType; t != types.OCIConfigJSON && t != types.DockerConfigJSON {
		return found{}, fmt.Errorf("it is no container image: its configuration is %q", clean(string(t), 100))
	}
	data, err := read.get(ctx, m.Config, "configuration")
	if err != nil {
		return found{}, err
	}
	f := found{manifest: d.digest}
	if f.config, err = readConfig(data, architecture); err != nil {
		return found{}, err
	}
	for _, l := range m.Layers {
		if !slices.Contains(layerTypes[:], l.MediaType) {
			return found{}, fmt.Errorf("its layer %s is %q, which is no file system", l.Digest,
				clean(string(l.MediaType), 100))
		}
		f.layers = append(f.layers, layer{mediaType: string(l.MediaType), digest: l.Digest, size: l.Size})
	}
	return f, f.pair()
}

// readConfig reads a configuration and refuses one of an image that cannot run here.
func readConfig(data []byte, architecture string) (*v1.ConfigFile, error) {
	config, err := v1.ParseConfigFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("its configuration cannot be read: %w", err)
	}
	if config.OS != "" && config.OS != "linux" || config.Architecture != "" &&
		config.Architecture != architecture {
		return nil, fmt.Errorf("it is for %s/%s, not for linux/%s", clean(config.OS, 20),
			clean(config.Architecture, 20), architecture)
	}
	return config, nil
}

// pair gives each layer the digest of what is in it, and checks how many and how large they are.
func (f *found) pair() error {
	ids := f.config.RootFS.DiffIDs
	if len(ids) != len(f.layers) {
		return fmt.Errorf("it has %d layers, and its configuration speaks of %d", len(f.layers), len(ids))
	}
	if len(ids) > maxLayers {
		return fmt.Errorf("it has %d layers, more than the %d allowed", len(ids), maxLayers)
	}
	known := map[string]layer{}
	var sum int64
	for i := range f.layers {
		l := &f.layers[i]
		l.diffID = ids[i]
		if before, ok := known[l.key()]; ok && before.size != l.size {
			return fmt.Errorf("its layer %s has two sizes", l.name())
		} else if ok && before.diffID != l.diffID {
			return fmt.Errorf("its layer %s is there twice, and its configuration gives its content two "+
				"digests, %s and %s",
				l.name(), before.diffID, l.diffID)
		} else if ok {
			continue
		}
		known[l.key()] = *l
		if l.size < 0 || l.size > maxStored-sum {
			return fmt.Errorf("its layers have more than the %d bytes allowed", int64(maxStored))
		}
		sum += l.size
	}
	return nil
}
