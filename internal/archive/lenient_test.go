package archive

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// From a directory what cannot come along stays behind, counted and named; an absolute link is a text.
func TestLenient(t *testing.T) {
	source := t.TempDir()
	in := func(name string) string { return filepath.Join(source, name) }
	check(t,
		os.MkdirAll(in(".venv/bin"), 0o755), os.Symlink("/usr/bin/python3", in(".venv/bin/python3")),
		os.Symlink("../../outside", in("out")), os.WriteFile(in("main.py"), []byte("print(1)"), 0o644),
		os.MkdirAll(in("skipped/below"), 0o755), os.WriteFile(in("skipped/below/file"), nil, 0o644),
		syscall.Mkfifo(in("fifo"), 0o644))
	socket, err := net.Listen("unix", in("editor.sock"))
	check(t, err)
	defer socket.Close()
	o := PackOptions{Lenient: true, Links: LinksAbsolute,
		Skip: func(path string, isDir bool) bool { return path == "skipped" && isDir }}
	var b bytes.Buffer
	sum, err := Pack(t.Context(), &b, source, o)
	check(t, err)
	var left []string
	for _, l := range sum.Left.Names {
		left = append(left, l.Path+": "+l.Reason)
	}
	same(t, left, []string{"editor.sock: it is a socket", "fifo: it is a FIFO",
		`out: its link target "../../outside" leads outside`})
	if sum.Left.Count != 3 {
		t.Errorf("%d left out", sum.Left.Count)
	}
	for _, links := range []Links{linksInside, LinksAbsolute} {
		root := t.TempDir()
		to := options(root)
		to.Links = links
		_, err := Extract(t.Context(), bytes.NewReader(b.Bytes()), to)
		if (err != nil) != (links == linksInside) {
			t.Errorf("links %d: %v", links, err)
		}
		if links == linksInside {
			continue
		}
		target, err := os.Readlink(filepath.Join(root, ".venv/bin/python3"))
		if err != nil || target != "/usr/bin/python3" {
			t.Errorf("%q, %v", target, err)
		}
		if _, err := os.Lstat(filepath.Join(root, "skipped")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what was to stay behind came along: %v", err)
		}
	}
	if _, err := strictly(t.Context(), &b, source, Limits{}); err == nil {
		t.Error("strictly it was taken")
	}
}

// A hole costs next to nothing, from a directory and from an archive, on the way and where it arrives.
func TestHoles(t *testing.T) {
	const size = 4 << 30
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "s"))
	check(t, err)
	_, err = f.WriteAt([]byte("abc"), 1<<30)
	check(t, err, f.Truncate(size), f.Close())
	for name, source := range map[string]string{"directory": dir, "tar": saved(t, "a.tar", sparseTar(size))} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			sum, err := strictly(t.Context(), &b, source, Limits{})
			check(t, err)
			if sum.Bytes != size || b.Len() > 1<<20 {
				t.Errorf("%d bytes became %d on the way", sum.Bytes, b.Len())
			}
			root := t.TempDir()
			_, err = Extract(t.Context(), bytes.NewReader(b.Bytes()), options(root))
			check(t, err)
			var st syscall.Stat_t
			check(t, syscall.Stat(filepath.Join(root, "s"), &st))
			if st.Size != size || st.Blocks*512 > 1<<20 {
				t.Errorf("%d bytes take %d", st.Size, st.Blocks*512)
			}
		})
	}
	huge := saved(t, "a.tar", sparseTar(1<<40-1))
	if _, err := strictly(t.Context(), &bytes.Buffer{}, huge, Limits{}); !errors.Is(err, ErrLimit) {
		t.Errorf("a hole of a TiB: %v", err)
	}
}

// sparseTar is a tar of one sparse file with three bytes at its beginning, in the first of GNU's formats.
func sparseTar(size int64) []byte {
	h := make([]byte, 512)
	put := func(at int, text string) { copy(h[at:], text) }
	octal := func(n int64, width int) string {
		out := make([]byte, width)
		for i := width - 1; i >= 0; i-- {
			out[i] = '0' + byte(n&7)
			n >>= 3
		}
		return string(out)
	}
	put(0, "s")
	put(100, "0000644")
	put(108, "0000000")
	put(116, "0000000")
	put(124, octal(3, 11))
	put(136, "14524770400")
	put(156, "S")
	put(257, "ustar  \x00")
	put(386, octal(0, 11)+"\x00"+octal(3, 11))
	if size < 1<<33 {
		put(483, octal(size, 11))
	} else {
		h[483] = 0x80
		for i := range 8 {
			h[494-i] = byte(size >> (8 * i))
		}
	}
	put(148, "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	put(148, octal(int64(sum), 6)+"\x00 ")
	return append(append(h, "abc"...), make([]byte, 512-3+1024)...)
}

// Owners and the right to run as them come along only if both sides say so.
func TestOwners(t *testing.T) {
	source := t.TempDir()
	check(t, os.WriteFile(filepath.Join(source, "a"), nil, 0o644),
		os.Chmod(filepath.Join(source, "a"), 0o755|os.ModeSetuid))
	var b bytes.Buffer
	_, err := PackPath(t.Context(), &b, source, PackOptions{Owners: true, Name: "x"})
	check(t, err)
	root := t.TempDir()
	o := options(root)
	o.Owners, o.DropSetID = true, true
	_, err = Extract(t.Context(), bytes.NewReader(b.Bytes()), o)
	check(t, err)
	info, err := os.Stat(filepath.Join(root, "x", "a"))
	check(t, err)
	if info.Mode() != 0o755 || int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
		t.Errorf("%v", info.Mode())
	}
}

// A single file, and a link that is not followed.
func TestPackPath(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "a"), []byte("one"), 0o600),
		os.Symlink("/etc/passwd", filepath.Join(dir, "l")))
	root := t.TempDir()
	for from, as := range map[string]string{"a": "b", "l": "link"} {
		var b bytes.Buffer
		_, err := PackPath(context.Background(), &b, filepath.Join(dir, from),
			PackOptions{Name: as, Links: LinksAny})
		check(t, err)
		o := options(root)
		o.Links = LinksAny
		_, err = Extract(t.Context(), &b, o)
		check(t, err)
	}
	got := strings.Join(list(t, root), "\n")
	if !strings.Contains(got, `3 "one"`) || !strings.Contains(got, "-> /etc/passwd") {
		t.Errorf("got %s", got)
	}
}
