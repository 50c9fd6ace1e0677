package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// What is refused, and that nothing of it stays outside the store's temporary place.
func TestHostileImages(t *testing.T) {
	hard := func(name, target string) member {
		return member{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, ""}
	}
	soft := func(name, target string) member {
		return member{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}, ""}
	}
	layers := func(tars ...[]byte) *made {
		return layered(t, v1.Config{}, []string{gzipped, uncompressed}, tars...)
	}
	changed := func(m *made, change func()) *made {
		change()
		m.seal(t)
		return m
	}
	fine := func() *made { return layers(pack(t, file("a", "1")), pack(t, file("b", "2"))) }
	m := fine()
	for _, test := range []struct {
		name  string
		image *made
		want  string
	}{
		{"a path that leads out", layers(pack(t, file("a/../../b", ""))), `path with ".."`},
		{"a hard link that leads out", layers(pack(t, hard("a", "../../etc/passwd"))), `path with ".."`},
		{"a hard link through a link to nowhere",
			layers(pack(t, soft("l", "/nowhere"), hard("a", "l/passwd"))), "hard link target"},
		{"a name twice", layers(pack(t, file("a", "1"), file("a", "2"))), "twice"},
		{"a truncated tar", layers(pack(t, file("a", strings.Repeat("x", 4000)))[:2000]), "unexpected EOF"},
		{"no tar", layers(bytes.Repeat([]byte("no tar "), 300)), "invalid tar header"},
		{"one layer twice, with two contents", func() *made {
			m := layers(pack(t, file("a", "1")), pack(t, file("a", "1")))
			m.manifest.Layers[1] = m.manifest.Layers[0]
			return changed(m, func() { m.config.RootFS.DiffIDs[1] = digestOf([]byte("x")) })
		}(), "gives its content two digests"},
		{"a sparse file that a layer of its size is not to have", layers(sparseTar(t, 8<<30)),
			"over the limit of .* that a layer of its size may unfold to"},
		{"an absurd size", layers(absurd(t)), "over the limit of .* bytes"},
		{"another content than the configuration says", changed(fine(), func() {}), ""},
		{"a manifest with a size below zero", func() *made {
			m := fine()
			return changed(m, func() { m.manifest.Layers[0].Size = -1 })
		}(), "more than the .* bytes allowed"},
		{"an absurd layer", func() *made {
			m := fine()
			return changed(m, func() { m.manifest.Layers[0].Size = 1 << 60 })
		}(), "more than the .* bytes allowed"},
		{"too few layers", func() *made {
			m := fine()
			return changed(m, func() { m.manifest.Layers = m.manifest.Layers[:1] })
		}(), "1 layers, and its configuration speaks of 2"},
		{"an absurd configuration", func() *made {
			m := fine()
			return changed(m, func() { m.config.Config.Env = []string{strings.Repeat("x", maxRunConfig+1)} })
		}(), "words of"},
		{"a configuration with a zero byte", func() *made {
			m := fine()
			return changed(m, func() { m.config.Config.User = "a\x00b" })
		}(), "zero byte"},
		{"of another architecture", func() *made {
			m := fine()
			return changed(m, func() { m.config.Architecture = "arm64" })
		}(), "it is for linux/arm64"},
		{"of another system", func() *made {
			m := fine()
			return changed(m, func() { m.config.OS = "windows" })
		}(), "it is for windows/amd64"},
		{"no image but a chart", func() *made {
			m := fine()
			m.manifest.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
			m.top = encode(t, m.manifest)
			m.blob(m.top)
			return m
		}(), "no container image: its configuration is"},
		{"an encrypted layer", func() *made {
			m := fine()
			return changed(m, func() { m.manifest.Layers[0].MediaType += "+encrypted" })
		}(), "which is no file system"},
		{"Docker's first format", &made{blobs: map[v1.Hash][]byte{digestOf(
			[]byte(`{"schemaVersion":1}`)): []byte(`{"schemaVersion":1}`)},
			top: []byte(`{"schemaVersion":1}`), topType: types.DockerManifestSchema2}, "schema 1"},
		{"a swapped layer", func() *made {
			m.blobs[m.manifest.Layers[0].Digest] = m.blobs[m.manifest.Layers[1].Digest]
			return m
		}(), "where the manifest|where the configuration"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, "")
			name := "oci:" + test.image.layoutDir(t)
			if test.want == "" {
				mustPull(t, s, name)
				return
			}
			_, err := pull(t, s, name)
			if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			nothingLeft(t, s)
		})
	}
}

// What grows too much is refused as soon as it has, whatever it claims to be.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for _, how := range []string{gzipped, zstandard} {
		data := compress(t, how, zeros)
		b := stored{open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
		l := layer{digest: digestOf(data), diffID: digestOf(zeros)}
		u := newUnpacker(t.TempDir())
		tar, err := u.unpack(t.Context(), l, b)
		if err != nil {
			t.Fatal(err)
		}
		tar.file.Close()
		u.freely = 1 << 20
		if _, err := u.unpack(t.Context(), l, b); err == nil ||
			!strings.Contains(err.Error(), "more than 200 times as much is refused") {
			t.Errorf("%s: got %v", how, err)
		}
		u = newUnpacker(t.TempDir())
		u.left.Store(1 << 20)
		if _, err := u.unpack(t.Context(), l, b); err == nil ||
			!strings.Contains(err.Error(), "bytes allowed when decompressed") {
			t.Errorf("%s: got %v", how, err)
		}
	}
}

// nothingLeft wants a store to be as before a pull, but for the kernel and its locks.
func nothingLeft(t *testing.T, s *environment.Store) {
	t.Helper()
	list, err := s.List()
	if err != nil || len(list) > 0 {
		t.Errorf("listed: %v, %v", list, err)
	}
	k, err := s.Initrd(t.Context(), environment.Kernel{Path: "/x/y"},
		environment.Agent{Open: func() ([]byte, error) { return nil, nil }}, "")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(filepath.Dir(k))
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		class, rest, _ := strings.Cut(rel, "/")
		if err == nil && rest != "" && (class == "tmp" || class == "images" || class == "blobs" ||
			class == "environments") {
			t.Errorf("%s was left", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sparseTar is a tar of one sparse file with three bytes at its beginning, in the format that GNU tar had
// first.
func sparseTar(t testing.TB, size int64) []byte {
	t.Helper()
	h := make([]byte, 512)
	put := func(at int, text string) { copy(h[at:], text) }
	put(0, "hole")
	put(100, "0000644\x00")
	put(108, "0000000\x00")
	put(116, "0000000\x00")
	put(124, "00000000003\x00")
	put(136, "14524770400\x00")
	put(156, "S")
	put(257, "ustar  \x00")
	put(386, "00000000000\x0000000000003\x00")
	put(483, fmt.Sprintf("%011o\x00", size))
	put(148, "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	put(148, fmt.Sprintf("%06o\x00 ", sum))
	return append(append(h, "abc"...), make([]byte, 512-3+1024)...)
}

// A hole in a layer is one in the image: what it takes on the disk is what is in it.
func TestHolesStayHoles(t *testing.T) {
	s := newStore(t, "")
	m := mustPull(t, s, "oci:"+layered(t, v1.Config{}, []string{gzipped},
		sparseTar(t, 512<<20)).layoutDir(t)).Manifest
	if m.Image.Size < 512<<20 || m.DiskBytes > 1<<20 {
		t.Errorf("an image of %d bytes takes %d on the disk", m.Image.Size, m.DiskBytes)
	}
}

// absurd is a tar whose one sparse file would have 2^50 bytes.
func absurd(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     "huge",
		Size:     1 << 50,
		Format:   tar.FormatPAX,
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, 1024)...)
}

// Indexes: the platform, what is no image, and how deep they nest.
func TestIndexes(t *testing.T) {
	one, two, arm := layered(t, v1.Config{}, []string{gzipped}, pack(t, file("a", "1"))),
		layered(t, v1.Config{}, []string{gzipped}, pack(t, file("a", "2"))),
		layered(t, v1.Config{}, []string{gzipped}, pack(t, file("a", "arm")))
	linux := func(arch, variant string) *v1.Platform {
		return &v1.Platform{OS: "linux", Architecture: arch, Variant: variant}
	}
	attestation := v1.Descriptor{
		MediaType: types.OCIManifestSchema1,
		Digest:    digestOf([]byte("x")),
		Size:      1,
		Platform:  &v1.Platform{OS: "unknown", Architecture: "unknown"},
	}
	signature := v1.Descriptor{
		MediaType:    types.OCIManifestSchema1,
		Digest:       digestOf([]byte("y")),
		Size:         1,
		ArtifactType: "application/vnd.example.signature",
	}
	other := layered(t, v1.Config{}, []string{gzipped}, pack(t, file("a", "3")))
	other.config.Architecture = "arm64"
	other.seal(t)
	index := func(nest int, all ...v1.Descriptor) *made {
		m := &made{blobs: map[v1.Hash][]byte{}, topType: types.OCIImageIndex}
		for _, from := range []*made{one, two, arm, other} {
			for d, data := range from.blobs {
				m.blobs[d] = data
			}
		}
		for ; nest >= 0; nest-- {
			m.top = encode(t, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex,
				Manifests: all})
			m.blob(m.top)
			all = []v1.Descriptor{m.descriptor(nil)}
		}
		return m
	}
	for _, test := range []struct {
		name  string
		image *made
		want  string // digest of the image, or the error
	}{
		{"the platform", index(0, arm.descriptor(linux("arm64", "v8")), attestation,
			one.descriptor(linux("amd64", ""))), digestOf(one.top).String()},
		{"the least variant", index(0, two.descriptor(linux("amd64", "v3")),
			one.descriptor(linux("amd64", "v2"))), digestOf(one.top).String()},
		{"an index in an index", index(1, one.descriptor(linux("amd64", ""))), digestOf(one.top).String()},
		{"not there", index(0, arm.descriptor(linux("arm64", "v8")), attestation),
			`not there for linux/amd64, only for ["linux/arm64/v8"]`},
		{"too deep", index(4, one.descriptor(linux("amd64", ""))), "nested more than"},
		{"one that does not say, beside an attestation", index(0, one.descriptor(nil), attestation),
			digestOf(one.top).String()},
		{"one that says nothing, beside another",
			index(0, arm.descriptor(linux("arm64", "")), one.descriptor(&v1.Platform{})),
			digestOf(one.top).String()},
		{"one that does not say, beside its signature", index(0, one.descriptor(nil), signature),
			digestOf(one.top).String()},
		{"two that do not say", index(0, one.descriptor(nil), two.descriptor(nil)),
			"2 images that do not say"},
		{"one that does not say and is for another", index(0, other.descriptor(nil), attestation),
			"it is for linux/arm64"},
		{"nothing but attestations", index(0, attestation, signature), "its index holds no image"},
		{"the first format", index(0, v1.Descriptor{MediaType: types.DockerManifestSchema1,
			Digest: digestOf([]byte("x")), Size: 1}), "schema 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRegistry(t)
			s := newStore(t, "")
			name := r.push(test.image, "1")
			got, err := pull(t, s, name)
			if err != nil {
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				return
			}
			if r.asked("/manifests/"+test.want) == 0 {
				t.Errorf("another image was chosen: %q", r.requests)
			}
			if want := digestOf(test.image.top).String(); !strings.HasSuffix(got.Manifest.Reference,
				"@"+want) {
				t.Errorf("the reference is %q, not the index's %s", got.Manifest.Reference, want)
			}
		})
	}
}

func FuzzDocument(f *testing.F) {
	m := layered(f, v1.Config{Env: []string{"A=b"}, User: "app", WorkingDir: "srv"}, []string{gzipped},
		pack(f, file("a", "1")))
	f.Add(m.top, m.blobs[m.manifest.Config.Digest])
	f.Add(encode(f, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex,
		Manifests: []v1.Descriptor{m.descriptor(nil)}}), []byte("{}"))
	f.Add([]byte(`{"manifests":[{"size":-1}],"layers":{}}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, top, config []byte) {
		documents := &layout{folder: memory{top, config}}
		found, err := choose(t.Context(), document{data: top, digest: digestOf(top)}, "amd64", documents.read)
		if err != nil {
			return
		}
		if len(found.layers) > maxLayers || found.config == nil {
			t.Errorf("got %+v", found)
		}
		if _, err := runConfig(found.config); err == nil && !json.Valid(config) {
			t.Error("a configuration that is no JSON was taken")
		}
	})
}
