package archive

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tree(b *testing.B, count, size int) string {
	b.Helper()
	at := b.TempDir()
	body := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
	for i := range count {
		dir := filepath.Join(at, fmt.Sprint("d", i/50))
		check(b, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, fmt.Sprint("file-", i)), body,
			0o644))
	}
	return at
}

func benchmarkPack(b *testing.B, source string, bytes int64) {
	b.SetBytes(bytes)
	for b.Loop() {
		if _, err := strictly(b.Context(), io.Discard, source, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func packed(b *testing.B, source string) []byte {
	b.Helper()
	var out bytes.Buffer
	if _, err := strictly(b.Context(), &out, source, Limits{}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func benchmarkExtract(b *testing.B, stream []byte, size int64) {
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		root := b.TempDir()
		b.StartTimer()
		if _, err := Extract(b.Context(), bytes.NewReader(stream), options(root)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		check(b, os.RemoveAll(root))
		b.StartTimer()
	}
}

// The figures of the workspace seeds: a tar of 200 MB, and 10,000 small files.

func BenchmarkPackSmall(b *testing.B) { benchmarkPack(b, tree(b, 10_000, 1000), 10_000_000) }
func BenchmarkExtractSmall(b *testing.B) {
	benchmarkExtract(b, packed(b, tree(b, 10_000, 1000)), 10_000_000)
}
func BenchmarkExtractLarge(b *testing.B) {
	benchmarkExtract(b, packed(b, tree(b, 10, 20<<20)), 200<<20)
}
func BenchmarkPackLarge(b *testing.B) {
	benchmarkPack(b, saved(b, "a.tar",
		tarOf(b, regular("large", strings.Repeat("0123456789abcde\n", 200<<16)))), 200<<20)
}
