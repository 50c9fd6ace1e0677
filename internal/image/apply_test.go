package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"
)

// item is a tar entry in a test: its header's name tells the type (a trailing slash is a directory) unless
// set.
type item struct {
	tar.Header
	body string
}

func dir(name string) item {
	return item{tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}
func file(name, body string) item { return item{tar.Header{Name: name, Mode: 0o644}, body} }
func symlink(name, target string) item {
	return item{tar.Header{
		Name:     name,
		Typeflag: tar.TypeSymlink,
		Linkname: target,
		Mode:     0o777,
	}, ""}
}
func hardlink(name, target string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, ""}
}

var testTime = time.Unix(1_600_000_000, 0)

func layer(t testing.TB, items ...item) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		h := it.Header
		h.Size = int64(len(it.body))
		if h.ModTime.IsZero() {
			h.ModTime = testTime
		}
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
	return bytes.NewReader(b.Bytes())
}

// list describes a tree, a line an entry: the type, the name, what it holds, and how many names it has if
// several.
func list(t testing.TB, tree *Tree) []string {
	t.Helper()
	var lines []string
	err := tree.Walk(func(path string, e Entry) error {
		line := fmt.Sprintf("%s %s", path, e.Mode.Type())
		switch e.Mode.Type() {
		case 0:
			dirname, base := splitPath(path)
			at, err := tree.find(dirname, false)
			if err != nil {
				return err
			}
			r, err := at.kids[base].body.open()
			if err != nil {
				return err
			}
			b, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			line += " " + string(b)
		case fs.ModeSymlink:
			line += " " + e.Link
		}
		if e.Links > 1 && !e.Mode.IsDir() {
			line += fmt.Sprintf(" x%d", e.Links)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

var oci = ApplyOptions{Whiteouts: true}

func TestApply(t *testing.T) {
	dpkg := ApplyOptions{KeepDirLinks: true}
	for _, test := range []struct {
		name   string
		o      ApplyOptions
		layers [][]item
		want   string
	}{
		{"absolute and dotted names", oci, [][]item{{dir("."), file("/a", "1"), file("./b//c", "2")}},
			"a ---------- 1|b d---------|b/c ---------- 2"},
		{"overwriting one of two names", oci, [][]item{
			{file("t", "old"), hardlink("u", "t")}, {file("t", "new")}},
			"t ---------- new|u ---------- old"},
		{"whiteout of one of two names", oci, [][]item{
			{file("t", "old"), hardlink("u", "./t")}, {file(".wh.t", "")}},
			"u ---------- old"},
		{"whiteout spares its own layer", oci, [][]item{
			{dir("d"), file("d/a", "1"), file("d/b", "1")}, {file("d/a", "2"), file(".wh.d", "")}},
			"d d---------|d/a ---------- 2"},
		{"opaque, after what stays", oci, [][]item{
			{file("d/e/a", "1"), file("d/f", "1")}, {file("d/e/b", "2"), file("d/.wh..wh..opq", "")}},
			"d d---------|d/e d---------|d/e/b ---------- 2"},
		{"opaque, before what stays", oci, [][]item{
			{file("d/e/a", "1"), file("d/f", "1")}, {file("d/.wh..wh..opq", ""), file("d/e/b", "2")}},
			"d d---------|d/e d---------|d/e/b ---------- 2"},
		{"whiteout of what is not there", oci,
			[][]item{{file("x/.wh.y", ""), file(".wh.z", ""), file("f", ""), file("f/.wh.z", "")}},
			"f ---------- "},
		{"whiteouts unless asked for", ApplyOptions{}, [][]item{{file("a", "1"), file(".wh.a", "")}},
			".wh.a ---------- |a ---------- 1"},
		{"directory to file and back", oci, [][]item{
			{file("d/a", "1"), file("f", "1")}, {file("d", "2"), dir("f"), file("f/b", "2")}},
			"d ---------- 2|f d---------|f/b ---------- 2"},
		{"directories again, and names of lower layers", ApplyOptions{Unique: true}, [][]item{
			{file("a", "1"), dir("d"), dir("d"), file("d/f", "1"), dir("d")}, {dir("a"), file("d/f", "2")}},
			"a d---------|d d---------|d/f ---------- 2"},
		{"last duplicate wins", oci, [][]item{{file("a", "1"), symlink("a", "x"), file("a", "3")}},
			"a ---------- 3"},
		{"entries below links", oci, [][]item{
			{dir("usr/lib"), symlink("lib", "usr/lib"), symlink("up", "../../usr"), symlink("abs", "/usr")},
			{file("lib/a", "1"), file("up/b", "2"), file("abs/c", "3")}},
			"abs L--------- /usr|lib L--------- usr/lib|up L--------- ../../usr|usr d---------|usr/b " +
				"---------- 2|" +
				"usr/c ---------- 3|usr/lib d---------|usr/lib/a ---------- 1"},
		{"entry below a dangling link", oci, [][]item{{symlink("l", "x/y"), file("l/a", "1")}},
			"l L--------- x/y|x d---------|x/y d---------|x/y/a ---------- 1"},
		{"directory over link: OCI", oci, [][]item{{dir("usr/lib"), symlink("lib", "usr/lib")},
			{dir("lib"), file("lib/a", "1")}},
			"lib d---------|lib/a ---------- 1|usr d---------|usr/lib d---------"},
		{"directory over link: dpkg", dpkg,
			[][]item{{dir("usr/lib"), symlink("lib", "usr/lib")}, {dir("lib"), file("lib/a", "1")}},
			"lib L--------- usr/lib|usr d---------|usr/lib d---------|usr/lib/a ---------- 1"},
		{"link over directory: dpkg", dpkg, [][]item{{file("lib/a", "1")}, {symlink("lib", "usr/lib")}},
			"lib d---------|lib/a ---------- 1"},
		{"directory over link to elsewhere: dpkg", dpkg, [][]item{{symlink("lib", "nowhere")}, {dir("lib")}},
			"lib d---------"},
		{"hard link to a link, and to itself", oci,
			[][]item{{symlink("l", "x"), hardlink("m", "l"), hardlink("m", "m")}},
			"l L--------- x x2|m L--------- x x2"},
		{"hard link through a link", oci, [][]item{{file("usr/a", "1"), symlink("u", "usr"),
			hardlink("b", "u/a")}},
			"b ---------- 1 x2|u L--------- usr|usr d---------|usr/a ---------- 1 x2"},
		{"devices left out", oci, [][]item{{file("zero", "lower")}, {
			{tar.Header{
				Name:     "null",
				Typeflag: tar.TypeChar,
				Devmajor: 1,
				Devminor: 3,
			}, ""}, hardlink("nil", "null"),
			{tar.Header{
				Name:     "zero",
				Typeflag: tar.TypeChar,
				Devmajor: 1,
				Devminor: 5,
			}, ""},
			{tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}, ""}}},
			"pipe p---------"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := NewTree()
			for _, items := range test.layers {
				l := layer(t, items...)
				if err := tree.Apply(t.Context(), l, l.Size(), test.o); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := list(t, tree), strings.Split(test.want, "|"); !slices.Equal(got, want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	few := ApplyOptions{Limits: Limits{
		MaxEntries: 3,
		MaxBytes:   10,
		MaxPath:    100,
		MaxMeta:    50,
	}}
	for _, test := range []struct {
		name  string
		o     ApplyOptions
		items []item
		want  string
	}{
		{"..", oci, []item{file("a/../b", "")}, `".."`},
		{"hard link outside", oci, []item{hardlink("a", "../b")}, `".."`},
		{"hard link to nothing", oci, []item{hardlink("a", "b")}, "not there"},
		{"hard link to a directory", oci, []item{dir("b"), hardlink("a", "b")}, "is a directory"},
		{"long name", oci, []item{file(strings.Repeat("n", 256), "")}, "256 bytes is too long"},
		{"below a file", oci, []item{file("a", ""), file("a/b", "")}, "not a directory"},
		{"a loop of links", oci, []item{symlink("a", "b"), symlink("b", "a"), file("a/c", "")},
			"too many levels"},
		{"whiteout of the parent", oci, []item{file("a/.wh...", "")}, "whiteout of nothing"},
		{"too many entries", few, []item{file("a/b/c/d", "")}, "3 entries"},
		{"too much content", few, []item{file("a", "12345"), file("b", "123456")}, "10 bytes"},
		{"too long a path", few, []item{file("a/"+strings.Repeat("../", 33)+"b", "")}, "MaxPath"},
		{"too long names", few, []item{file(strings.Repeat("n", 51), "")}, "MaxMeta"},
		{"too long a target", oci, []item{symlink("a", strings.Repeat("x", 4096))}, "4096 bytes"},
		{"a name twice", ApplyOptions{Unique: true}, []item{file("a", "1"), file("a", "2")}, "twice"},
		{"a name twice, by two ways", ApplyOptions{Unique: true},
			[]item{dir("d"), symlink("l", "d"), file("d/a", ""), symlink("l/a", "x")}, "twice"},
		{"a link's name twice", ApplyOptions{Unique: true},
			[]item{file("a", ""), file("b", ""), hardlink("b", "a")}, "twice"},
		{"the root as a file", oci, []item{symlink("./", "x")}, "root"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := layer(t, test.items...)
			err := NewTree().Apply(t.Context(), l, l.Size(), test.o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
			if strings.HasPrefix(test.want, "Max") && !errors.Is(err, ErrLimit) {
				t.Errorf("error %v is not ErrLimit", err)
			}
		})
	}
}

func TestApplyTruncated(t *testing.T) {
	l := layer(t, file("a", strings.Repeat("x", 2000)))
	if err := NewTree().Apply(t.Context(), l, 1500, oci); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want an unexpected end of file", err)
	}
}

func TestAddAndLookup(t *testing.T) {
	tree := NewTree()
	for path, e := range map[string]Entry{
		"/usr/lib/os-release": {
			Mode:   0o644,
			Data:   []byte("ID=debian\n"),
			UID:    3,
			Xattrs: map[string]string{"user.a": "b"},
		},
		"etc/os-release": {Mode: fs.ModeSymlink | 0o777, Link: "../usr/lib/os-release"},
		"lib":            {Mode: fs.ModeSymlink | 0o777, Link: "usr/lib"},
	} {
		if err := tree.Add(path, e); err != nil {
			t.Fatal(err)
		}
	}
	r, err := tree.Open("/etc/os-release")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "ID=debian\n" {
		t.Errorf("read %q, %v", b, err)
	}
	e, ok := tree.Lookup("lib/os-release")
	if !ok || e.Size != 10 || e.UID != 3 || e.Xattrs["user.a"] != "b" || e.Links != 1 {
		t.Errorf("got %+v, %v", e, ok)
	}
	if e, ok := tree.Lookup("/"); !ok || !e.Mode.IsDir() || e.Links != 4 {
		t.Errorf("root: got %+v, %v", e, ok)
	}
	if _, ok := tree.Lookup("usr/share"); ok {
		t.Error("found what is not there")
	}
	if err := tree.Add("a", Entry{Mode: 0o644, Xattrs: map[string]string{"com.apple.x": ""}}); err == nil {
		t.Error("an attribute that is lost on the way was taken")
	}
}
