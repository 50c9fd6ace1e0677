package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// layerFile is a layer on disk, as the store has it: count files of size bytes each, 50 to a directory.
func layerFile(b *testing.B, count, size int) *os.File {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "layer.tar"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	w := tar.NewWriter(f)
	body := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
	for i := range count {
		h := &tar.Header{
			Name:    fmt.Sprintf("usr/share/d%04d/file-%06d", i/50, i),
			Mode:    0o644,
			Size:    int64(size),
			ModTime: testTime,
		}
		if err := w.WriteHeader(h); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return f
}

func benchmarkImage(b *testing.B, count, size int) {
	f := layerFile(b, count, size)
	length, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		b.Fatal(err)
	}
	out, err := os.Create(filepath.Join(b.TempDir(), "image"))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	b.SetBytes(int64(count) * int64(size))
	for b.Loop() {
		tree := NewTree()
		if err := tree.Apply(b.Context(), f, length, ApplyOptions{Whiteouts: true}); err != nil {
			b.Fatal(err)
		}
		if _, err := tree.WriteEROFS(b.Context(), out, EROFSOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkImageSmall is Apply and WriteEROFS of 50,000 small files.
func BenchmarkImageSmall(b *testing.B) { benchmarkImage(b, 50_000, 1500) }

// BenchmarkImageLarge is the same of 8 files of 64 MiB.
func BenchmarkImageLarge(b *testing.B) { benchmarkImage(b, 8, 64<<20) }
