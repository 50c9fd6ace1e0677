package image

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle is a root file system as the specification of layers tells it, flat and slow: full paths to files.
type oracle map[string]*oracleFile

type oracleFile struct {
	mode  fs.FileMode
	body  string // content or target
	attrs string // owner, time, extended attribute
}

func oracleAttrs(uid, gid int, second int64, xattr string) string {
	return fmt.Sprint(uid, ":", gid, " ", second, " ", xattr)
}

// whiteouts is the first pass over a layer: it sees only what lower layers brought.
func (o oracle) whiteouts(items []item) {
	for _, it := range items {
		above, base := splitPath(it.Name)
		victim, ok := strings.CutPrefix(base, ".wh.")
		if !ok {
			continue
		}
		above, ok = o.resolve(above, false)
		if !ok {
			continue
		}
		if base == ".wh..wh..opq" {
			o.remove(above, false)
		} else {
			o.remove(join(above, victim), true)
		}
	}
}

// entries is the second.
func (o oracle) entries(items []item) bool {
	for _, it := range items {
		above, base := splitPath(strings.Trim(it.Name, "/"))
		if strings.HasPrefix(base, ".wh.") {
			continue
		}
		var linked *oracleFile
		if it.Typeflag == tar.TypeLink {
			from, name := splitPath(it.Linkname)
			from, ok := o.resolve(from, false)
			linked = o[join(from, name)]
			if !ok || linked == nil || linked.mode.IsDir() {
				return false
			}
		}
		above, ok := o.resolve(above, true)
		if !ok {
			return false
		}
		path := join(above, base)
		old := o[path]
		mode := fs.FileMode(it.Mode & 0o777)
		for bit, special := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid,
			0o1000: fs.ModeSticky} {
			if it.Mode&bit != 0 {
				mode |= special
			}
		}
		attrs := oracleAttrs(it.Uid, it.Gid, it.ModTime.Unix(), it.PAXRecords["SCHILY.xattr.user.x"])
		switch it.Typeflag {
		case tar.TypeDir:
			if old == nil || !old.mode.IsDir() {
				o.remove(path, true)
			}
			o[path] = &oracleFile{mode | fs.ModeDir, "", attrs}
		case tar.TypeLink:
			o.remove(path, true)
			o[path] = linked
		case tar.TypeSymlink:
			o.remove(path, true)
			o[path] = &oracleFile{mode | fs.ModeSymlink, it.Linkname, attrs}
		default:
			o.remove(path, true)
			o[path] = &oracleFile{mode, it.body, attrs}
		}
	}
	return true
}

func (o oracle) remove(path string, itself bool) {
	for name := range maps.Clone(o) {
		if (itself && name == path) || strings.HasPrefix(name, path+"/") || path == "" {
			delete(o, name)
		}
	}
}

func join(above, base string) string { return strings.Trim(above+"/"+base, "/") }

// resolve turns a directory's path into one without links, by starting over at each link.
func (o oracle) resolve(path string, make bool) (string, bool) {
	parts := strings.Split(path, "/")
	done := ""
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		if part == "" {
			continue
		}
		if part == ".." {
			done, _ = splitPath(done)
			continue
		}
		next := join(done, part)
		f := o[next]
		switch {
		case f == nil && !make:
			return "", false
		case f == nil:
			o[next] = &oracleFile{fs.ModeDir | 0o755, "", oracleAttrs(0, 0, 0, "")}
		case f.mode.Type() == fs.ModeSymlink:
			if links++; links > 40 {
				return "", false
			}
			if strings.HasPrefix(f.body, "/") {
				done = ""
			}
			parts = append(strings.Split(f.body, "/"), parts...)
			continue
		case !f.mode.IsDir():
			return "", false
		}
		done = next
	}
	return done, true
}

func (o oracle) list() []string {
	names := map[*oracleFile]int{}
	for _, f := range o {
		names[f]++
	}
	var lines []string
	for path, f := range o {
		lines = append(lines, fmt.Sprint(path, " ", f.mode, " ", f.body, " ", names[f], " ", f.attrs))
	}
	slices.Sort(lines)
	return lines
}

func listAll(t testing.TB, tree *Tree) []string {
	var lines []string
	err := tree.Walk(func(path string, e Entry) error {
		body, links := e.Link, e.Links
		switch {
		case e.Mode.IsDir():
			links = 1
		case e.Mode.IsRegular():
			above, base := splitPath(path)
			dir, err := tree.find(above, false)
			if err != nil {
				return err
			}
			b := make([]byte, e.Size)
			if _, err := dir.kids[base].body.at.ReadAt(b, dir.kids[base].body.off); err != nil {
				return err
			}
			body = string(b)
		}
		second, _ := unixTime(e.ModTime)
		lines = append(lines, fmt.Sprint(path, " ", e.Mode, " ", body, " ", links, " ",
			oracleAttrs(e.UID, e.GID, int64(second), e.Xattrs["user.x"])))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// drawLayer makes a layer. Where whiteouts stand among the entries must not matter, except where an entry
// depends on what is deleted: if there are links they come first.
func drawLayer(t *rapid.T, number int, links bool) (items []item) {
	name := rapid.StringMatching(`[abc](/[abc]){0,3}`)
	var whiteouts []item
	for i := range rapid.IntRange(1, 12).Draw(t, "entries") {
		kind := rapid.SampledFrom([]string{"file", "file", "dir", "whiteout", "opaque", "symlink",
			"hardlink"}).Draw(t, "kind")
		path := name.Draw(t, "path")
		mode := int64(rapid.IntRange(0, 0o7777).Draw(t, "mode"))
		above, base := splitPath(path)
		switch {
		case kind == "dir":
			it := dir(path)
			it.Mode = mode
			items = append(items, it)
		case kind == "whiteout":
			whiteouts = append(whiteouts, file(join(above, ".wh."+base), ""))
		case kind == "opaque":
			whiteouts = append(whiteouts, file(join(path, ".wh..wh..opq"), ""))
		case kind == "symlink" && links:
			it := symlink(path, rapid.StringMatching(`/?(\.\./){0,2}[abc](/[abc])?`).Draw(t, "target"))
			it.Mode = mode
			items = append(items, it)
		case kind == "hardlink" && links:
			items = append(items, hardlink(path, name.Draw(t, "target")))
		default:
			it := file(path, fmt.Sprintf("%d.%d", number, i))
			it.Mode = mode
			items = append(items, it)
		}
	}
	for i := range items {
		it := &items[i]
		it.Uid, it.Gid = rapid.SampledFrom([]int{0, 1000, 1 << 22}).Draw(t, "uid"),
			rapid.IntRange(0, 3).Draw(t, "gid")
		it.ModTime = time.Unix(int64(rapid.IntRange(0, 1<<33).Draw(t, "time")), 0)
		if it.Typeflag != tar.TypeLink && rapid.Bool().Draw(t, "with an attribute") {
			it.PAXRecords = map[string]string{"SCHILY.xattr.user.x": fmt.Sprint("value ", i)}
		}
	}
	items = append(whiteouts, items...)
	if links {
		return items
	}
	return rapid.Permutation(items).Draw(t, "order")
}

func TestApplyAgainstOracle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tree, want := NewTree(), oracle{}
		links := rapid.Bool().Draw(rt, "links")
		for i := range rapid.IntRange(1, 4).Draw(rt, "layers") {
			items := drawLayer(rt, i, links)
			l := layer(t, items...)
			err := tree.Apply(t.Context(), l, l.Size(), oci)
			if err != nil && !links {
				return // below a file that a whiteout further on deletes
			}
			want.whiteouts(items)
			ok := want.entries(items)
			if ok != (err == nil) {
				rt.Fatalf("layer %d: error %v, the oracle says %v", i, err, ok)
			}
			if !ok {
				return
			}
			if got, want := listAll(t, tree), want.list(); !slices.Equal(got, want) {
				rt.Fatalf("layer %d: got\n%s\nwant\n%s", i, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}
