package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestReadEROFS reads back what was written, in both forms, and wants the same tree; the mappable one has no
// extended attributes.
func TestReadEROFS(t *testing.T) {
	tree := manyFiles(t)
	for _, mappable := range []bool{false, true} {
		want := described(t, tree, !mappable)
		f := writeTree(t, tree, EROFSOptions{Mappable: mappable})
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadEROFS(f, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		if have := described(t, got, true); !reflect.DeepEqual(want, have) {
			t.Errorf("mappable %v: the tree that was read is\n%v\nnot\n%v", mappable, have, want)
		}
	}
}

// TestWriteTar writes a tree as a layer and lays that: the same tree comes out, and the same bytes each time.
func TestWriteTar(t *testing.T) {
	tree := manyFiles(t)
	f := writeTree(t, tree, EROFSOptions{})
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadEROFS(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	err = errors.Join(tree.WriteTar(t.Context(), &first), read.WriteTar(t.Context(), &second))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the image of a tree makes another layer than the tree")
	}
	laid := NewTree()
	layer := bytes.NewReader(first.Bytes())
	options := ApplyOptions{Whiteouts: true, Unique: true, Devices: true}
	if err := laid.Apply(t.Context(), layer, layer.Size(), options); err != nil {
		t.Fatal(err)
	}
	if want, got := described(t, tree, true), described(t, laid, true); !reflect.DeepEqual(want, got) {
		t.Errorf("the layer unfolds to\n%v\nnot\n%v", got, want)
	}
}

// TestMappable wants each file's content in whole blocks, which a program that maps the image depends on.
func TestMappable(t *testing.T) {
	f := writeTree(t, manyFiles(t), EROFSOptions{Mappable: true})
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadEROFS(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = got.Walk(func(path string, e Entry) error {
		if !e.Mode.IsRegular() || e.Size == 0 {
			return nil
		}
		files++
		n, err := got.find(path, false)
		if err != nil {
			return err
		}
		if n.body.off%blockSize != 0 || n.body.off == 0 {
			t.Errorf("%q begins at byte %d", path, n.body.off)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// manyFiles is a tree with contents of all lengths that lie differently, and one of each type.
func manyFiles(t *testing.T) *Tree {
	t.Helper()
	tree := NewTree()
	when := time.Unix(1700000000, 123)
	for _, size := range []int{0, 10, 4000, 4096, 9000, 100_000} {
		name := strconv.Itoa(size)
		e := Entry{
			Mode:    0o640,
			UID:     7,
			GID:     8,
			ModTime: when,
			Data:    []byte(strings.Repeat(name[:1]+"x", size/2)),
			Xattrs:  map[string]string{"user.a": "b"},
		}
		if err := tree.Add("d/"+name, e); err != nil {
			t.Fatal(err)
		}
	}
	target := Entry{Mode: os.ModeSymlink | 0o777, Link: "d/10", ModTime: when}
	if err := tree.Add("link", target); err != nil {
		t.Fatal(err)
	}
	null := Entry{
		Mode:    os.ModeDevice | os.ModeCharDevice | 0o666,
		Major:   1,
		Minor:   3,
		ModTime: when,
	}
	if err := tree.Add("null", null); err != nil {
		t.Fatal(err)
	}
	twice := layer(t, file("a", "same"), hardlink("b", "a"))
	if err := tree.Apply(t.Context(), twice, twice.Size(), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	return tree
}

func writeTree(t *testing.T, tree *Tree, o EROFSOptions) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := tree.WriteEROFS(t.Context(), f, o); err != nil {
		t.Fatal(err)
	}
	return f
}

// described is what can be compared of a tree.
func described(t *testing.T, tree *Tree, xattrs bool) map[string]any {
	t.Helper()
	out := map[string]any{}
	err := tree.Walk(func(path string, e Entry) error {
		if !xattrs {
			e.Xattrs = nil
		}
		sec, nsec := unixTime(e.ModTime)
		e.ModTime = time.Unix(int64(sec), int64(nsec))
		body := ""
		if e.Mode.IsRegular() {
			r, err := tree.Open(path)
			if err != nil {
				return err
			}
			b, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			body = string(b)
		}
		out[path] = [2]any{e, body}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzReadEROFS feeds foreign bytes to the reader: whatever it takes can be walked.
func FuzzReadEROFS(f *testing.F) {
	tree := NewTree()
	for _, name := range []string{"a", "b/c"} {
		if err := tree.Add(name, Entry{Mode: 0o644, Data: []byte(name)}); err != nil {
			f.Fatal(err)
		}
	}
	out, err := os.Create(filepath.Join(f.TempDir(), "seed"))
	if err != nil {
		f.Fatal(err)
	}
	defer out.Close()
	if _, err := tree.WriteEROFS(f.Context(), out, EROFSOptions{}); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(out.Name())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadEROFS(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if err := got.Walk(func(path string, e Entry) error {
			if strings.ContainsRune(filepath.Base(path), 0) {
				t.Errorf("a name has a zero: %q", path)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}
