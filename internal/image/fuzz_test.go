package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzApply lays foreign bytes and writes what came of them: any layer that is taken must make an image.
func FuzzApply(f *testing.F) {
	seed := func(items ...item) {
		b, err := io.ReadAll(layer(f, items...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true, false)
		f.Add(b, false, true)
	}
	seed(dir("a"), file("a/b", "body"), symlink("l", "/a"), file("l/c", "1"), hardlink("d", "a/b"))
	seed(file("d/.wh..wh..opq", ""), file(".wh.x", ""), symlink("a", "b"), symlink("b", "a"))
	seed(item{tar.Header{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.a": strings.Repeat("v",
		3000)}}, "x"})
	for _, format := range []string{"gnu", "posix"} {
		b, err := io.ReadAll(sparseTar(f, format))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true, true)
	}
	scratch := filepath.Join(f.TempDir(), "image")
	f.Fuzz(func(t *testing.T, b []byte, whiteouts, devices bool) {
		tree := NewTree()
		o := ApplyOptions{
			Whiteouts:    whiteouts,
			Devices:      devices,
			KeepDirLinks: !whiteouts,
			Limits:       Limits{MaxBytes: 8 << 20},
		}
		for range 2 {
			if err := tree.Apply(t.Context(), bytes.NewReader(b), int64(len(b)), o); err != nil {
				return
			}
		}
		w, err := os.Create(scratch)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := tree.WriteEROFS(t.Context(), w, EROFSOptions{}); err != nil &&
			!strings.Contains(err.Error(), "sparse") {
			t.Error(err)
		}
	})
}

// FuzzExtractKernel feeds foreign bytes to the header's reader and, behind an honest header, to each
// decompressor.
func FuzzExtractKernel(f *testing.F) {
	for _, format := range kernelFormats {
		f.Add(format.magic, []byte(format.magic+"some bytes"))
	}
	f.Add("", bzImage([]byte("\x02\x21\x4c\x18\x05\x00\x00\x00\x50hello"), 5))
	f.Fuzz(func(t *testing.T, magic string, b []byte) {
		_, _ = ExtractKernel(b)
		_, _ = ExtractKernel(bzImage(append([]byte(magic), b...), 1<<20))
	})
}
