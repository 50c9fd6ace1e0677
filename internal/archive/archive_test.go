package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tester is what a testing.TB and a rapid.T have in common and the helpers need.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

var testTime = time.Unix(1_600_000_000, 123456789)

type item struct {
	tar.Header
	body string
}

func regular(name, body string) item { return item{tar.Header{Name: name, Mode: 0o640}, body} }
func folder(name string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o750}, ""}
}
func symlink(name, target string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}, ""}
}
func hardlink(name, target string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, ""}
}
func special(name string, typeflag byte) item {
	return item{tar.Header{Name: name, Typeflag: typeflag}, ""}
}

func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		h := it.Header
		h.Size = int64(len(it.body))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, it.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// streamOf is what Pack would send, unjudged.
func streamOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	kinds := map[byte]kind{0: file, tar.TypeDir: directory, tar.TypeSymlink: symbolicLink,
		tar.TypeLink: hardLink}
	for _, it := range items {
		e := entry{
			kind:  kinds[it.Typeflag],
			name:  it.Name,
			link:  it.Linkname,
			mode:  uint32(it.Mode),
			mtime: it.ModTime,
			size:  int64(len(it.body)),
		}
		if e.kind == nothing {
			e.kind = kind(it.Typeflag)
		}
		check(t, e.write(w))
		_, err := w.WriteString(it.body)
		check(t, err)
	}
	check(t, writeEnd(w), w.Flush())
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// saved writes a source archive.
func saved(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func options(root string) ExtractOptions {
	return ExtractOptions{Root: root, UID: os.Getuid(), GID: os.Getgid()}
}

// carry packs and extracts.
func carry(t testing.TB, source string) (root string, sum Summary) {
	t.Helper()
	var b bytes.Buffer
	sum, err := strictly(t.Context(), &b, source, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	got, err := Extract(t.Context(), &b, options(root))
	if err != nil {
		t.Fatal(err)
	}
	if got.Entries != sum.Entries || got.Bytes != sum.Bytes {
		t.Errorf("extracted %+v of %+v", got, sum)
	}
	return root, sum
}

// list describes a tree: a line an entry, files by content, names that share a file by the first of them.
func list(t tester, root string) []string {
	t.Helper()
	var lines []string
	first := map[uint64]string{}
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		line := fmt.Sprintf("%s %v", name, info.Mode())
		if info.Mode().Type() != os.ModeSymlink {
			line += fmt.Sprint(" ", info.ModTime().UnixNano())
		}
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			if st.Nlink > 1 {
				if first[st.Ino] == "" {
					first[st.Ino] = name
				}
				line += " = " + first[st.Ino]
			}
			line += fmt.Sprintf(" %d %.40q", len(b), bytes.Trim(b, "\x00"))
		case info.Mode().Type() == os.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprint(" -> ", target, " ", info.ModTime().UnixNano())
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func same(t tester, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func check(t tester, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// sourceTree has one of each that is kept.
func sourceTree(t testing.TB) string {
	t.Helper()
	at := t.TempDir()
	in := func(name string) string { return filepath.Join(at, name) }
	deep := strings.Repeat("deep/", 100)
	check(t,
		os.MkdirAll(in("a/empty"), 0o700), os.MkdirAll(in(deep), 0o755),
		os.WriteFile(in("a/file"), []byte("content"), 0o644),
		os.WriteFile(in("a/readonly"), nil, 0o400), os.WriteFile(in(deep+"leaf"), []byte("leaf"), 0o600),
		os.WriteFile(in(strings.Repeat("ü", 127)), []byte("long"), 0o600),
		os.Link(in("a/file"), in("b")), os.Link(in("a/file"), in(deep+"c")),
		os.Symlink("a/file", in("link")), os.Symlink("../b", in("a/up")),
		os.Symlink("/workspace/a", in("abs")),
		os.Symlink("nowhere", in("dangling")), os.Symlink("a/../b", in("round")),
		os.Chmod(in("b"), 0o755|os.ModeSetuid), os.Chtimes(in("b"), testTime, testTime),
		os.Chtimes(in("a/empty"), testTime, testTime.Add(-time.Hour)), os.Chmod(in("a"), 0o555|os.ModeSticky))
	t.Cleanup(func() { check(t, os.Chmod(in("a"), 0o755)) })
	f, err := os.Create(in("sparse"))
	check(t, err)
	_, err = f.WriteAt([]byte("in the middle"), 5<<20)
	check(t, err, f.Truncate(10<<20+1), f.Close())
	return at
}

func TestDirectory(t *testing.T) {
	source := sourceTree(t)
	root, sum := carry(t, source)
	same(t, list(t, root), list(t, source))
	if want := int64(len(list(t, source))); sum.Mode != ModeDirectory || sum.Entries != want {
		t.Errorf("summary %+v, want %d entries", sum, want)
	}
	if want := int64(10<<20 + 1 + len("content") + len("leaf") + len("long")); sum.Bytes != want {
		t.Errorf("%d bytes, want %d", sum.Bytes, want)
	}
	var st syscall.Stat_t
	check(t, syscall.Stat(filepath.Join(root, "sparse"), &st))
	if st.Blocks*512 > 1<<20 {
		t.Errorf("the sparse file takes %d bytes", st.Blocks*512)
	}
	check(t, os.Chmod(filepath.Join(root, "a"), 0o755))
}

// TestArchiveOfTar takes what GNU tar writes.
func TestArchiveOfTar(t *testing.T) {
	source := sourceTree(t)
	for _, args := range []string{"--format=gnu", "--format=gnu --sparse", "--format=posix",
		"--format=posix --sparse", "--format=posix -z", "--format=gnu -z"} {
		t.Run(args, func(t *testing.T) {
			name := "a.tar"
			switch args {
			case "--format=posix -z":
				name = "a.tgz"
			case "--format=gnu -z":
				name = "a.tar.gz"
			}
			to := filepath.Join(t.TempDir(), name)
			words := append(strings.Fields(args), "-C", source, "-cf", to, ".")
			out, err := exec.Command("tar", words...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			root, sum := carry(t, to)
			if sum.Mode != ModeArchive {
				t.Errorf("mode %q", sum.Mode)
			}
			got, want := list(t, root), list(t, source)
			if strings.Contains(args, "gnu") { // which has whole seconds only
				for i := range got {
					got[i], _, _ = strings.Cut(got[i], " 1")
					want[i], _, _ = strings.Cut(want[i], " 1")
				}
			}
			same(t, got, want)
			check(t, os.Chmod(filepath.Join(root, "a"), 0o755))
		})
	}
}

func TestArchiveForms(t *testing.T) {
	for _, test := range []struct {
		name  string
		items []item
		want  string
	}{
		{"git's global header", []item{{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header",
			PAXRecords: map[string]string{"comment": "x"}}, ""}, regular("a", "1")}, "a"},
		{"the root's own entry", []item{folder("./"), regular("./a", "1")}, "a"},
		{"implied directories", []item{regular("a/b/c", "1")}, "a a/b a/b/c"},
		{"last duplicate", []item{regular("a", "1"), symlink("a", "b"), regular("a", "3"), folder("b"),
			folder("b")}, "a b"},
		{"link, then directory", []item{symlink("a", "b"), folder("a"), regular("a/c", "")}, "a a/c"},
		{"a file with a target", []item{{tar.Header{Name: "a", Linkname: strings.Repeat("x", 1<<16)}, "1"},
			regular("b", "2")}, "a b"},
		{"nothing", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, _ := carry(t, saved(t, "a.tar", tarOf(t, test.items...)))
			var names []string
			for _, line := range list(t, root) {
				name, _, _ := strings.Cut(line, " ")
				names = append(names, name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, source := range []string{sourceTree(t), saved(t, "a.tar", tarOf(t, regular("a", "1")))} {
		if _, err := strictly(ctx, io.Discard, source, Limits{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := Extract(ctx, bytes.NewReader(streamOf(t)), options(t.TempDir())); !errors.Is(err,
		context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// strictly packs as archives are.
func strictly(ctx context.Context, w io.Writer, source string, l Limits) (Summary, error) {
	return Pack(ctx, w, source, PackOptions{Limits: l})
}
