package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// member is an entry of a tar that a test makes.
type member struct {
	tar.Header
	body string
}

func file(name, body string) member { return member{tar.Header{Name: name, Mode: 0o644}, body} }

func pack(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if m.Typeflag == 0 {
			m.Typeflag = tar.TypeReg
		}
		if m.Typeflag == tar.TypeReg {
			m.Size = int64(len(m.body))
		}
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The ways in which a layer is stored.
const (
	uncompressed = "uncompressed"
	gzipped      = "gzip"
	zstandard    = "zstd"
)

var layerTypeOf = map[string]types.MediaType{
	uncompressed: types.OCIUncompressedLayer, gzipped: types.OCILayer, zstandard: types.OCILayerZStd,
}

func compress(t testing.TB, how string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	switch how {
	case gzipped:
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	case zstandard:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		return data
	}
	return b.Bytes()
}

func digestOf(data []byte) v1.Hash {
	sum := sha256.Sum256(data)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// made is an image that a test makes: its blobs by their digests, and the way to its manifest.
type made struct {
	blobs    map[v1.Hash][]byte
	top      []byte
	topType  types.MediaType
	manifest v1.Manifest
	config   v1.ConfigFile
}

func (m *made) blob(data []byte) v1.Hash {
	d := digestOf(data)
	m.blobs[d] = data
	return d
}

// layered makes an image of tars, each stored as how says in turn.
func layered(t testing.TB, config v1.Config, how []string, tars ...[]byte) *made {
	t.Helper()
	m := &made{blobs: map[v1.Hash][]byte{}}
	m.config = v1.ConfigFile{
		Architecture: "amd64",
		OS:           "linux",
		Config:       config,
		RootFS:       v1.RootFS{Type: "layers"},
	}
	m.manifest = v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	for i, plain := range tars {
		kind := how[i%len(how)]
		data := compress(t, kind, plain)
		m.config.RootFS.DiffIDs = append(m.config.RootFS.DiffIDs, digestOf(plain))
		m.manifest.Layers = append(m.manifest.Layers,
			v1.Descriptor{MediaType: layerTypeOf[kind], Digest: m.blob(data), Size: int64(len(data))})
	}
	m.seal(t)
	return m
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// seal makes the configuration and the manifest of what they are now.
func (m *made) seal(t testing.TB) {
	t.Helper()
	config := encode(t, m.config)
	m.manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: m.blob(config),
		Size: int64(len(config))}
	m.top, m.topType = encode(t, m.manifest), m.manifest.MediaType
	m.blob(m.top)
}

// descriptor is what an index says of the image.
func (m *made) descriptor(platform *v1.Platform) v1.Descriptor {
	return v1.Descriptor{
		MediaType: m.topType,
		Digest:    digestOf(m.top),
		Size:      int64(len(m.top)),
		Platform:  platform,
	}
}

// layoutDir writes the image as a directory in the OCI layout.
func (m *made) layoutDir(t testing.TB, more ...v1.Descriptor) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for d, data := range m.blobs {
		write(blobPath(d), data)
	}
	write("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	write("index.json", encode(t, v1.IndexManifest{SchemaVersion: 2,
		Manifests: append([]v1.Descriptor{m.descriptor(nil)}, more...)}))
	return dir
}

// testKernel stands in for Debian's.
func testKernel(ctx context.Context, w *environment.Workshop) (environment.Kernel, error) {
	return w.Kernel(ctx, "test", func() (environment.KernelFiles, error) {
		return environment.KernelFiles{
			Version: "6.1",
			Package: "linux=6.1",
			Image:   []byte("kernel"),
			Modules: map[string][]byte{"m": []byte("m")},
			Order:   []string{"m"},
		}, nil
	})
}

// newStore is a store with images as its one source, and no credentials but those of a Docker configuration.
func newStore(t testing.TB, config string) *environment.Store {
	t.Helper()
	credentials(t, config)
	return openStore(t)
}

func openStore(t testing.TB) *environment.Store {
	return environment.Open(filepath.Join(t.TempDir(), "store"), New(Options{Kernel: testKernel}))
}

func credentials(t testing.TB, config string) {
	t.Helper()
	dir := t.TempDir()
	if config == "" {
		config = "{}"
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", dir)
}

func pull(
	t testing.TB, s *environment.Store, name string, insecure ...string,
) (environment.PullResult, error) {
	t.Helper()
	return s.Pull(t.Context(), environment.PullRequest{Name: name,
		Registries: environment.Registries{Insecure: insecure}})
}

func mustPull(t testing.TB, s *environment.Store, name string) environment.PullResult {
	t.Helper()
	r, err := pull(t, s, name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
