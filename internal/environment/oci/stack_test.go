package oci

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pyro-mcp/pyro/internal/image"
)

// stacks is how many generated images are compared.
const stacks = 60

// TestGeneratedStacks compares generated images with what the specification says about applying layers, done
// slowly and obviously: the whiteouts of each are deleted on disk, then tar extracts the rest over what is
// there.
func TestGeneratedStacks(t *testing.T) {
	for seed := range uint64(stacks) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 8))
			disk := t.TempDir()
			var tars [][]byte
			for i := range 1 + random.IntN(6) {
				members := drawLayer(random, disk, i)
				tars = append(tars, pack(t, members...))
				extract(t, disk, members, tars[i])
			}
			how := []string{uncompressed, gzipped, zstandard}
			random.Shuffle(3, func(i, j int) { how[i], how[j] = how[j], how[i] })
			got, want := listTree(t, flattened(t, layered(t, v1.Config{}, how, tars...))), listDisk(t, disk)
			if !slices.Equal(got, want) {
				only := func(all, other []string) string {
					return strings.Join(slices.DeleteFunc(slices.Clone(all), func(l string) bool {
						return slices.Contains(other, l)
					}), "\n\t")
				}
				t.Errorf("only pulled:\n\t%s\nonly extracted:\n\t%s", only(got, want), only(want, got))
			}
		})
	}
}

// flattened is an image as it comes out of a pull, short of being written.
func flattened(t *testing.T, m *made) *image.Tree {
	t.Helper()
	from, err := openLayout(reference{path: m.layoutDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer from.close()
	j := &job{from: from}
	if j.found, err = from.find(t.Context(), "amd64"); err != nil {
		t.Fatal(err)
	}
	layers := j.distinct()
	tars := make([]plain, len(layers))
	u := newUnpacker(t.TempDir())
	err = from.fetch(t.Context(), layers, func(i int, b stored) (err error) {
		tars[i], err = u.unpack(t.Context(), layers[i], b)
		t.Cleanup(func() { tars[i].file.Close() })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := j.flatten(t.Context(), layers, tars)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

var longName = strings.Repeat("long", 40)

// drawLayer makes a layer for what is on disk. Directories above entries are entries, and no symbolic link is
// above one: what tar makes of those is its own affair.
func drawLayer(random *rand.Rand, disk string, number int) []member {
	names := []string{"a", "b", "c", longName}
	var live []string // files of lower layers
	_ = filepath.WalkDir(disk, func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(disk, at)
			live = append(live, rel)
		}
		return err
	})
	kinds := map[string]byte{} // names of this layer
	gone := map[string]bool{}  // names and directories that this layer touches
	var members, whiteouts []member
	add := func(m member) {
		m.Mode = int64(0o700 | random.IntN(0o10000))
		if m.Typeflag == tar.TypeDir {
			m.Mode &^= 0o2000 // on disk the kernel hands it on to what is made below
		}
		m.ModTime = time.Unix(random.Int64N(1<<32), 0)
		kinds[m.Name], gone[m.Name] = m.Typeflag, true
		members = append(members, m)
	}
	var parents func(name string) bool
	parents = func(name string) bool {
		above := path.Dir(name)
		if kind, ok := kinds[above]; above == "." || ok {
			return above == "." || kind == tar.TypeDir
		}
		if !parents(above) {
			return false
		}
		add(member{tar.Header{Name: above, Typeflag: tar.TypeDir}, ""})
		return true
	}
	for i := range 1 + random.IntN(14) {
		name := names[random.IntN(len(names))]
		for range random.IntN(4) {
			name += "/" + names[random.IntN(len(names))]
		}
		switch random.IntN(7) {
		case 0:
			above, base := path.Split(name)
			whiteouts = append(whiteouts, file(above+".wh."+base, ""))
			gone[name] = true
			continue
		case 1:
			whiteouts = append(whiteouts, file(name+"/.wh..wh..opq", ""))
			gone[name] = true
			continue
		case 2:
			name = path.Join(path.Dir(name), fmt.Sprint("s", random.IntN(2)))
		}
		if _, ok := kinds[name]; ok || !parents(name) {
			continue
		}
		switch {
		case strings.HasPrefix(path.Base(name), "s"):
			add(member{tar.Header{Name: name, Typeflag: tar.TypeSymlink,
				Linkname: []string{"../a", "/b/c", "nowhere"}[random.IntN(3)]}, ""})
		case random.IntN(4) == 0:
			add(member{tar.Header{Name: name, Typeflag: tar.TypeDir}, ""})
		case random.IntN(3) == 0 && len(live) > 0:
			add(member{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: live[random.IntN(len(live))]},
				""})
		default:
			add(member{tar.Header{Name: name, Typeflag: tar.TypeReg}, fmt.Sprint(number, ".", i)})
		}
	}
	members = slices.DeleteFunc(members, func(m member) bool {
		return m.Typeflag == tar.TypeLink && touched(m.Linkname, kinds, gone)
	})
	for _, w := range whiteouts { // they may stand anywhere
		members = slices.Insert(members, random.IntN(len(members)+1), w)
	}
	return members
}

// touched tells whether a lower layer's file might not be there any more for a hard link to refer to.
func touched(name string, kinds map[string]byte, gone map[string]bool) bool {
	if _, ok := kinds[name]; ok || gone[name] {
		return true
	}
	for above := path.Dir(name); above != "."; above = path.Dir(above) {
		if kind, ok := kinds[above]; gone[above] && (!ok || kind != tar.TypeDir) {
			return true
		}
	}
	return slices.ContainsFunc(ancestors(name), func(above string) bool { return gone[above] })
}

func ancestors(name string) (all []string) {
	for above := path.Dir(name); above != "."; above = path.Dir(above) {
		all = append(all, above)
	}
	return all
}

// extract applies a layer on disk.
func extract(t *testing.T, disk string, members []member, data []byte) {
	t.Helper()
	for _, m := range members {
		above, base := path.Split(m.Name)
		victim, ok := strings.CutPrefix(base, ".wh.")
		if !ok {
			continue
		}
		victims := []string{filepath.Join(disk, above, victim)}
		if base == ".wh..wh..opq" {
			victims = nil
			if info, err := os.Lstat(filepath.Join(disk, above)); err == nil && info.IsDir() {
				victims, _ = filepath.Glob(filepath.Join(disk, above, "*"))
			}
		}
		for _, v := range victims {
			if err := os.RemoveAll(v); err != nil && !errors.Is(err, syscall.ENOTDIR) {
				t.Fatal(err)
			}
		}
	}
	for _, m := range members { // what changes its type goes first, since tar would keep it
		at := filepath.Join(disk, m.Name)
		if info, err := os.Lstat(at); err == nil && info.IsDir() != (m.Typeflag == tar.TypeDir) {
			if err := os.RemoveAll(at); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command("tar", "-x", "-p", "--no-same-owner", "--exclude=.wh.*", "-C", disk)
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
}

func line(name string, mode fs.FileMode, links int, when time.Time, content string) string {
	if mode.IsDir() {
		return fmt.Sprint(name, " ", mode)
	}
	if mode.Type() == fs.ModeSymlink {
		return fmt.Sprint(name, " link ", content)
	}
	return fmt.Sprint(name, " ", mode, " x", links, " ", when.Unix(), " ", content)
}

func listDisk(t *testing.T, disk string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(disk, func(at string, d fs.DirEntry, err error) error {
		if err != nil || at == disk {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case d.Type() == fs.ModeSymlink:
			content, err = os.Readlink(at)
		case d.Type().IsRegular():
			var data []byte
			data, err = os.ReadFile(at)
			content = string(data)
		}
		rel, _ := filepath.Rel(disk, at)
		lines = append(lines, line(rel, info.Mode(), int(info.Sys().(*syscall.Stat_t).Nlink), info.ModTime(),
			content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func listTree(t *testing.T, tree *image.Tree) (lines []string) {
	t.Helper()
	err := tree.Walk(func(name string, e image.Entry) error {
		content := e.Link
		if e.Mode.IsRegular() {
			r, err := tree.Open(name)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if _, err := b.ReadFrom(r); err != nil {
				return err
			}
			content = b.String()
		}
		lines = append(lines, line(name, e.Mode, e.Links, e.ModTime, content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}
