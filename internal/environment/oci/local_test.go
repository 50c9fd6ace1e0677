package oci

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// memory is a folder whose files all hold one of a few documents: each that whose digest its name is.
type memory [][]byte

func (m memory) open(name string) (io.ReadCloser, error) {
	for _, data := range m {
		if name == blobPath(digestOf(data)) {
			return io.NopCloser(bytes.NewReader(data)), nil
		}
	}
	return nil, fs.ErrNotExist
}

func (m memory) Close() error { return nil }

// archiveOf writes a tar with the files of a directory, compressed as how says.
func archiveOf(t testing.TB, dir, how string) string {
	t.Helper()
	var members []member
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		members = append(members, file(rel, string(data)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return save(t, compress(t, how, pack(t, members...)))
}

func save(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// dockerSave writes the image as docker save does: layers as plain tars, one that occurs twice as a link.
func (m *made) dockerSave(t testing.TB, tag string, tars ...[]byte) []byte {
	t.Helper()
	config := m.blobs[m.manifest.Config.Digest]
	one := saved{Config: digestOf(config).Hex + ".json", RepoTags: []string{tag}}
	members := []member{file(one.Config, string(config))}
	first := map[string]string{}
	for i, data := range tars {
		name := string(rune('a'+i)) + "/layer.tar"
		if old, ok := first[string(data)]; ok {
			members = append(members, member{tar.Header{Name: name, Typeflag: tar.TypeSymlink,
				Linkname: "../" + old}, ""})
		} else {
			members, first[string(data)] = append(members, file(name, string(data))), name
		}
		one.Layers = append(one.Layers, name)
	}
	return pack(t, append(members, file("manifest.json", string(encode(t, []saved{one}))))...)
}

func TestLocalImages(t *testing.T) {
	tars := [][]byte{pack(t, file("a", "1"), file("b", "1")), pack(t, file("a", "2")),
		pack(t, file(".wh.b", "")), pack(t, file("a", "2"))}
	m := layered(t, v1.Config{}, []string{gzipped, zstandard, uncompressed, zstandard}, tars...)
	dir := m.layoutDir(t)
	registry := newRegistry(t)
	s := newStore(t, "")
	images := map[string]bool{}
	for _, name := range []string{
		"oci:" + dir, "oci:" + dir + ":" + digestOf(m.top).String(), registry.push(m, "1"),
		"oci-archive:" + archiveOf(t, dir, uncompressed), "oci-archive:" + archiveOf(t, dir, gzipped),
		"docker-archive:" + save(t, m.dockerSave(t, "docker.io/library/app:1", tars...)),
		"docker-archive:" + save(t, compress(t, gzipped, m.dockerSave(t, "app:1", tars...))) + ":app:1",
	} {
		first := mustPull(t, s, name)
		images[first.Manifest.Image.SHA256] = true
		if got := len(first.Manifest.Layers); got != 3 && !(got == 4 && strings.HasPrefix(name, "docker")) {
			t.Errorf("%s: %d layers are listed", name, got)
		}
		if again := mustPull(t, s, name); again.Changed {
			t.Errorf("%s: a second pull changed it", name)
		}
		if _, err := s.Get(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(images) != 1 {
		t.Errorf("the same image came out in %d ways", len(images))
	}
	for name, want := range map[string]string{
		"oci:" + dir + ":other": `holds no image "other"`,
		"oci:" + t.TempDir():    "is no image in the OCI layout",
		"oci:/nonexistent":      "cannot open the image's directory",
		"oci:":                  "names no file",
		"docker-archive:" + dir: "it is no file",
		"oci-archive:" + save(t, m.dockerSave(t, "app:1")):           "is no image in the OCI layout",
		"docker-archive:" + archiveOf(t, dir, gzipped):               "no archive as docker save writes it",
		"docker-archive:" + save(t, m.dockerSave(t, "a:1")) + ":b:1": `holds no image "b:1"`,
		"oci-archive:" + save(t, []byte("nothing like a tar")):       "cannot read the archive",
	} {
		if _, err := pull(t, s, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// A layout may hold several images, one image under several names, and one for several platforms.
func TestLayoutOfSeveral(t *testing.T) {
	named := func(m *made, name string, platform *v1.Platform) v1.Descriptor {
		d := m.descriptor(platform)
		d.Annotations = map[string]string{refName: name}
		return d
	}
	one := layered(t, v1.Config{}, []string{gzipped}, pack(t, file("a", "1")))
	two := layered(t, v1.Config{}, []string{gzipped}, pack(t, file("a", "2")))
	for d, data := range two.blobs {
		one.blobs[d] = data
	}
	linux := func(architecture string) *v1.Platform {
		return &v1.Platform{OS: "linux", Architecture: architecture}
	}
	for _, test := range []struct {
		name, image string
		index       []v1.Descriptor
		want        string // digest or error
	}{
		{"by name", ":b", []v1.Descriptor{named(one, "a", nil), named(two, "b", nil)},
			digestOf(two.top).String()},
		{"without a name", "", []v1.Descriptor{named(one, "a", nil), named(two, "b", nil)},
			`holds several images: ["a" "b"]`},
		{"two names of one image", "", []v1.Descriptor{named(one, "a", nil), named(one, "b", nil)},
			digestOf(one.top).String()},
		{"two platforms", "", []v1.Descriptor{named(one, "a", linux("arm64")),
			named(two, "a", linux("amd64"))}, digestOf(two.top).String()},
		{"by digest", ":" + digestOf(one.top).String(),
			[]v1.Descriptor{one.descriptor(nil), two.descriptor(nil)}, digestOf(one.top).String()},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := one.layoutDir(t)
			index := encode(t, v1.IndexManifest{SchemaVersion: 2, Manifests: test.index})
			if err := os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := pull(t, newStore(t, ""), "oci:"+dir+test.image)
			if text := got.Manifest.Reference + " " + fmt.Sprint(err); !strings.Contains(text, test.want) {
				t.Errorf("got %s, want %q", text, test.want)
			}
		})
	}
}

// A link out of a layout is not followed.
func TestLayoutIsNotLeft(t *testing.T) {
	m := layered(t, v1.Config{}, []string{uncompressed}, pack(t, file("a", "1")))
	dir := m.layoutDir(t)
	blob := filepath.Join(dir, blobPath(m.manifest.Layers[0].Digest))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.Rename(blob, outside), os.Symlink(outside, blob)); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(t, newStore(t, ""), "oci:"+dir); err == nil ||
		!strings.Contains(err.Error(), "escapes") {
		t.Errorf("got %v", err)
	}
}

func FuzzArchive(f *testing.F) {
	m := layered(f, v1.Config{}, []string{uncompressed}, pack(f, file("a", "1")))
	f.Add(m.dockerSave(f, "a:1", pack(f, file("a", "1"))))
	f.Add(compress(f, gzipped, pack(f, file("a", "1"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := openArchive(t.Context(), t.TempDir(), save(t, data))
		if err != nil {
			return
		}
		defer a.Close()
		for name, at := range a.files {
			if at.off < 0 || at.size < 0 {
				t.Errorf("%q lies at %+v", name, at)
			}
		}
	})
}
