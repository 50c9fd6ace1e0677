package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// oddTree has what is rare: sizes about the block's, huge directories, long names and targets, all types,
// attributes that fill blocks, names that share a file, sparse files in each form that GNU tar writes.
func oddTree(t testing.TB) *Tree {
	items := []item{dir("many"), dir("sizes"), dir("empty"), dir("many/-dash"), dir("many/!bang")}
	for i := range 3000 {
		items = append(items, file(fmt.Sprintf("many/file-%04d", i), fmt.Sprint(i)))
	}
	for _, size := range []int{0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 8191, 8192, 8193, 12345, 1 << 20,
		3<<20 + 77} {
		body := strings.Repeat(fmt.Sprintf("%07d\n", size), size/8+1)[:size]
		items = append(items, file(fmt.Sprintf("sizes/%07d", size), body))
	}
	xattrs := func(sizes ...int) map[string]string {
		records := map[string]string{"SCHILY.xattr.user.empty": "",
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00" +
				strings.Repeat("\x00", 12)}
		for i, size := range sizes {
			records[fmt.Sprintf("SCHILY.xattr.user.n%d", i)] = strings.Repeat(fmt.Sprint(i), size)
		}
		return records
	}
	add := func(h tar.Header, body string) { items = append(items, item{h, body}) }
	add(tar.Header{Name: "caps", Mode: 0o755, PAXRecords: xattrs()}, strings.Repeat("c", 3990))
	add(tar.Header{Name: "caps-large", Mode: 0o755, PAXRecords: xattrs(3000, 2000, 3001)},
		strings.Repeat("c", 99))
	add(tar.Header{
		Name:       "caps-dir",
		Typeflag:   tar.TypeDir,
		Mode:       0o755,
		PAXRecords: xattrs(4000),
	}, "")
	add(tar.Header{
		Name: "suid",
		Mode: 0o6755,
		Uid:  100000,
		Gid:  200000,
	}, "s")
	add(tar.Header{
		Name:     "sticky",
		Typeflag: tar.TypeDir,
		Mode:     0o1777,
		Uid:      4294967294,
	}, "")
	add(tar.Header{
		Name:    "later",
		Mode:    0o600,
		ModTime: time.Date(2242, 1, 2, 3, 4, 5, 678901234, time.UTC),
		Format:  tar.FormatPAX,
	}, "l")
	add(tar.Header{Name: "before", Mode: 0o600, ModTime: time.Date(1942, 1, 2, 3, 4, 5, 0, time.UTC)}, "b")
	add(tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o600}, "")
	add(tar.Header{
		Name:     "disk",
		Typeflag: tar.TypeBlock,
		Mode:     0o660,
		Devmajor: 259,
		Devminor: 70000,
	}, "")
	add(tar.Header{
		Name:     "null",
		Typeflag: tar.TypeChar,
		Mode:     0o666,
		Devmajor: 1,
		Devminor: 3,
	}, "")
	add(tar.Header{Name: strings.Repeat("ü", 127) + "x", Mode: 0o644}, "long name")
	items = append(items, hardlink("many/again", "sizes/0012345"), hardlink("zz-again", "sizes/0012345"),
		symlink("link", "sizes/0000001"), symlink("link-200", strings.Repeat("a/", 100)),
		symlink("link-4095", strings.Repeat("b", 4095)),
		file("deep/"+strings.Repeat("d/", 300)+"f", "deep"))
	tree := NewTree()
	l := layer(t, items...)
	o := ApplyOptions{Devices: os.Geteuid() == 0} // others could not extract them
	if err := tree.Apply(t.Context(), l, l.Size(), o); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "posix"} {
		f := sparseTar(t, format)
		if err := tree.Apply(t.Context(), f, fileSize(t, f), oci); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func fileSize(t testing.TB, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// sparseTar is what GNU tar makes of two sparse files on end, between two that are not.
func sparseTar(t testing.TB, format string) *os.File {
	t.Helper()
	from := t.TempDir()
	for i, name := range []string{"a-plain", "b-sparse", "c-sparse", "d-plain"} {
		f, err := os.Create(filepath.Join(from, format+"-"+name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "sparse") {
			for at := range 30 { // more parts than the first header holds
				if _, err := f.WriteAt(fmt.Appendf(nil, "%d at %d", i, at),
					int64(at)*64<<10+int64(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Truncate(3<<20 + 5); err != nil {
				t.Fatal(err)
			}
		} else if _, err := f.WriteString(name); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(t.TempDir(), "sparse.tar")
	run(t, "tar", "--sparse", "--format="+format, "--sort=name", "--mtime=@1600000000", "-C", from, "-cf", to,
		".")
	f, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if fileSize(t, f) > 1<<20 {
		t.Fatalf("tar did not make a sparse archive: %d bytes", fileSize(t, f))
	}
	return f
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func writeImage(t testing.TB, tree *Tree) (string, Stats) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image.erofs"))
	if err != nil {
		t.Fatal(err)
	}
	stats, err := tree.WriteEROFS(t.Context(), f, EROFSOptions{UUID: [16]byte{1, 2, 3}, BuildTime: testTime})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name(), stats
}

func TestEROFSByFsck(t *testing.T) {
	if _, err := exec.LookPath("fsck.erofs"); err != nil {
		t.Fatal("fsck.erofs is missing: apt install erofs-utils")
	}
	tree := oddTree(t)
	image, stats := writeImage(t, tree)
	if info, err := os.Stat(image); err != nil || info.Size() != stats.Size || stats.Size%blockSize != 0 {
		t.Errorf("size %v differs from %d: %v", info.Size(), stats.Size, err)
	}
	out := filepath.Join(t.TempDir(), "out")
	run(t, "fsck.erofs", "--extract="+out, image)
	entries := int64(1)
	err := tree.Walk(func(path string, e Entry) error {
		entries++
		compareFile(t, tree, path, e, filepath.Join(out, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if entries != stats.Entries {
		t.Errorf("%d entries, the image says %d", entries, stats.Entries)
	}
}

// compareFile compares what any extraction keeps.
func compareFile(t *testing.T, tree *Tree, path string, e Entry, at string) {
	t.Helper()
	info, err := os.Lstat(at)
	if err != nil {
		t.Error(err)
		return
	}
	if info.Mode().Type() != e.Mode.Type() {
		t.Errorf("%s: type %v, want %v", path, info.Mode(), e.Mode)
		return
	}
	switch e.Mode.Type() {
	case fs.ModeSymlink:
		if target, err := os.Readlink(at); err != nil || target != e.Link {
			t.Errorf("%s: target %q, want %q: %v", path, target, e.Link, err)
		}
	case 0:
		got, err := os.ReadFile(at)
		if err != nil {
			t.Error(err)
			return
		}
		r, err := tree.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		if want, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: content of %d bytes differs from %d bytes, %v", path, len(got), len(want), err)
		}
	}
}

// TestEROFSByKernel lets the running kernel read the image, if that is allowed.
func TestEROFSByKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	tree := oddTree(t)
	image, _ := writeImage(t, tree)
	at := t.TempDir()
	run(t, "mount", "-t", "erofs", "-o", "ro,loop", image, at)
	defer run(t, "umount", at)
	err := tree.Walk(func(path string, e Entry) error {
		on := filepath.Join(at, path)
		compareFile(t, tree, path, e, on)
		compareAttributes(t, path, e, on)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func compareAttributes(t *testing.T, path string, e Entry, at string) {
	t.Helper()
	info, err := os.Lstat(at)
	if err != nil {
		t.Error(err)
		return
	}
	sec, nsec := unixTime(e.ModTime)
	st := info.Sys().(*syscall.Stat_t)
	got := fmt.Sprint(info.Mode(), st.Uid, st.Gid, st.Nlink, uint64(st.Mtim.Sec), st.Mtim.Nsec)
	want := fmt.Sprint(e.Mode, e.UID, e.GID, e.Links, sec, nsec)
	if got != want {
		t.Errorf("%s: attributes %s, want %s", path, got, want)
	}
	if e.Mode&fs.ModeDevice != 0 && st.Rdev != unix.Mkdev(e.Major, e.Minor) {
		t.Errorf("%s: device %x, want %d:%d", path, st.Rdev, e.Major, e.Minor)
	}
	value := make([]byte, 1<<16)
	for name, want := range e.Xattrs {
		if n, err := unix.Lgetxattr(at, name, value); err != nil || string(value[:n]) != want {
			t.Errorf("%s: attribute %s has %d bytes, want %d: %v", path, name, n, len(want), err)
		}
	}
	if n, err := unix.Llistxattr(at, value); err != nil ||
		bytes.Count(value[:n], []byte{0}) != len(e.Xattrs) {
		t.Errorf("%s: attributes %q, want %d, %v", path, value[:n], len(e.Xattrs), err)
	}
}

func TestEROFSIsReproducible(t *testing.T) {
	var images [2][]byte
	for i := range images {
		name, _ := writeImage(t, oddTree(t))
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		images[i] = b
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of one tree differ")
	}
}

func TestEROFSFailures(t *testing.T) {
	tree := NewTree()
	l := layer(t, file("large", strings.Repeat("x", 100000)))
	if err := tree.Apply(t.Context(), l, l.Size(), oci); err != nil {
		t.Fatal(err)
	}
	t.Run("layer cut short later", func(t *testing.T) {
		cut := NewTree()
		b := make([]byte, l.Size())
		if _, err := l.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "layer"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := cut.Apply(t.Context(), f, l.Size(), oci); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(2000); err != nil {
			t.Fatal(err)
		}
		w, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := cut.WriteEROFS(t.Context(), w, EROFSOptions{}); err == nil ||
			!strings.Contains(err.Error(), `"large"`) {
			t.Errorf("got %v, want an error that names the file", err)
		}
	})
	t.Run("disk full", func(t *testing.T) {
		w, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := tree.WriteEROFS(t.Context(), w, EROFSOptions{}); err == nil {
			t.Error("writing to a full device succeeded")
		}
	})
}
