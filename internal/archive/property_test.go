package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRoundTrip carries random trees and finds them as they were.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		source, root := t.TempDir(), t.TempDir()
		defer open(t, source)
		defer open(t, root)
		drawTree(rt, t, source)
		var b bytes.Buffer
		_, err := strictly(t.Context(), &b, source, Limits{})
		check(rt, err)
		_, err = Extract(t.Context(), bytes.NewReader(b.Bytes()), options(root))
		check(rt, err)
		same(rt, list(rt, root), list(rt, source))
		var again bytes.Buffer
		_, err = strictly(t.Context(), &again, root, Limits{})
		check(rt, err)
		// The stream may be another, since zeros have become holes; what it makes is not.
		third := t.TempDir()
		defer open(t, third)
		_, err = Extract(t.Context(), &again, options(third))
		check(rt, err)
		same(rt, list(rt, third), list(rt, source))
	})
}

// open makes a tree deletable.
func open(t tester, root string) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	check(t, err)
}

func drawTree(rt *rapid.T, t *testing.T, at string) {
	dirs, files := []string{at}, []string{}
	mtime := func() time.Time {
		return time.Unix(rapid.Int64Range(-1<<31, 1<<33).Draw(rt, "seconds"),
			rapid.Int64Range(0, 999_999_999).Draw(rt, "nanoseconds"))
	}
	for i := range rapid.IntRange(0, 15).Draw(rt, "entries") {
		above := rapid.SampledFrom(dirs).Draw(rt, "above")
		path := filepath.Join(above, fmt.Sprint(i,
			rapid.SampledFrom([]string{"", " b", "ü", "\n", "\xff", strings.Repeat("x", 200)}).Draw(rt,
				"name")))
		mode := fs.FileMode(rapid.IntRange(0, 0o777).Draw(rt, "mode")) | 0o400
		switch kind := rapid.SampledFrom([]string{"file", "dir", "symlink", "hardlink"}).Draw(rt, "kind"); {
		case kind == "dir":
			check(t, os.Mkdir(path, 0o700))
			dirs = append(dirs, path)
			m := mtime()
			defer func() { check(t, os.Chtimes(path, m, m), os.Chmod(path, mode|0o500)) }()
		case kind == "symlink":
			target, err := filepath.Rel(above, rapid.SampledFrom(dirs).Draw(rt, "target"))
			check(t, err, os.Symlink(target, path))
		case kind == "hardlink" && len(files) > 0:
			check(t, os.Link(rapid.SampledFrom(files).Draw(rt, "target"), path))
		default:
			body := make([]byte, rapid.SampledFrom([]int{0, 1, 511, 512, 513, bufferSize - 1, bufferSize,
				bufferSize + 1, 3 * bufferSize}).Draw(rt, "size"))
			if len(body) > 0 && rapid.Bool().Draw(rt, "not sparse") {
				body[rapid.IntRange(0, len(body)-1).Draw(rt, "at")] = 1
			}
			m := mtime()
			check(t, os.WriteFile(path, body, 0o600), os.Chtimes(path, m, m),
				os.Chmod(path, mode|fs.ModeSetgid))
			files = append(files, path)
		}
	}
}

// TestLinksStayInside makes archives of links that lead over each other, and sees where those lead that were
// taken.
func TestLinksStayInside(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var items []item
		name := rapid.StringMatching(`[abc](/[abc]){0,2}`)
		for range rapid.IntRange(1, 6).Draw(rt, "entries") {
			if rapid.IntRange(0, 3).Draw(rt, "kind") == 0 {
				items = append(items, folder(name.Draw(rt, "directory")))
			} else {
				items = append(items, symlink(name.Draw(rt, "name"),
					rapid.StringMatching(`((\.\.|[abc])/){0,5}(\.\.|[abc])`).Draw(rt, "target")))
			}
		}
		extractInside(rt, t.TempDir(), streamOf(t, items...))
	})
}

// extractInside extracts a stream that may be refused, and fails if anything is made, or any link leads,
// outside.
func extractInside(t tester, at string, stream []byte) {
	at, err := filepath.EvalSymlinks(at)
	check(t, err)
	root := filepath.Join(at, "x", "y", "root")
	check(t, os.MkdirAll(root, 0o700))
	o := options(root)
	o.MaxBytes, o.MaxEntries = 1<<20, 1000
	_, _ = Extract(context.Background(), bytes.NewReader(stream), o)
	open(t, root)
	for dir, only := range map[string]string{at: "x", at + "/x": "y", at + "/x/y": "root"} {
		if names, err := os.ReadDir(dir); err != nil || len(names) != 1 || names[0].Name() != only {
			t.Fatalf("outside there is %v, %v", names, err)
		}
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink {
			return err
		}
		if there, err := filepath.EvalSymlinks(path); err == nil && there != root &&
			!strings.HasPrefix(there, root+"/") {
			if target, _ := os.Readlink(path); !strings.HasPrefix(target, "/") {
				t.Errorf("%s leads to %s by %q", path, there, target)
			}
		}
		return nil
	})
	check(t, err)
}

// FuzzExtract feeds foreign streams to the guest's side.
func FuzzExtract(f *testing.F) {
	for _, r := range refused(f) {
		f.Add(r.stream)
	}
	f.Add(streamOf(f, kept...))
	f.Fuzz(func(t *testing.T, b []byte) { extractInside(t, t.TempDir(), b) })
}

// FuzzPack feeds foreign archives to the host's side. What it takes, the guest's takes as well.
func FuzzPack(f *testing.F) {
	add := func(b []byte) {
		f.Add(b, false)
		f.Add(gzipped(f, b), true)
	}
	for _, r := range refused(f) {
		if len(r.archive) < 1<<16 {
			add(r.archive)
		}
	}
	add(tarOf(f, kept...))
	f.Fuzz(func(t *testing.T, b []byte, compressed bool) {
		name := "a.tar"
		if compressed {
			name = "a.tgz"
		}
		at := t.TempDir()
		source := filepath.Join(at, name)
		check(t, os.WriteFile(source, b, 0o600))
		var out bytes.Buffer
		l := Limits{MaxBytes: 1 << 20, MaxEntries: 1000}
		want, err := strictly(t.Context(), &out, source, l)
		if err != nil {
			return
		}
		root := filepath.Join(at, "root")
		check(t, os.Mkdir(root, 0o700))
		defer open(t, root)
		o := options(root)
		o.MaxBytes, o.MaxEntries = l.MaxBytes, l.MaxEntries
		got, err := Extract(t.Context(), &out, o)
		want.Mode = ""
		if err != nil || got.Entries != want.Entries || got.Bytes != want.Bytes {
			t.Errorf("extracted %+v of %+v: %v", got, want, err)
		}
	})
}

// kept has one of each that is carried.
var kept = []item{folder("a"), regular("a/b", "body"), hardlink("c", "a/b"), symlink("a/l", "../c"),
	symlink("abs", "/workspace/a"),
	{tar.Header{Name: "t", ModTime: testTime, Format: tar.FormatPAX}, "t"}}
