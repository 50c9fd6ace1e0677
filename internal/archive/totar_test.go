package archive

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// GNU tar makes of the archive what it was made of, holes and odd names included.
func TestToTar(t *testing.T) {
	source := sourceTree(t)
	check(t, os.WriteFile(filepath.Join(source, "odd\n\xff name"), []byte("odd"), 0o600))
	var b, out bytes.Buffer
	_, err := PackPath(t.Context(), &b, source, PackOptions{Owners: true, Links: LinksAny})
	check(t, err)
	sum, err := ToTar(t.Context(), &b, &out, Limits{})
	check(t, err)
	if want := int64(len(list(t, source))); sum.Entries != want {
		t.Errorf("%d entries, want %d", sum.Entries, want)
	}
	root := t.TempDir()
	if out.Len() > 1<<20 {
		t.Errorf("a tar of %d bytes", out.Len())
	}
	cmd := exec.Command("tar", "-C", root, "-xpf", "-")
	cmd.Stdin = &out
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	got, want := list(t, root), list(t, source)
	same(t, got, want)
	var st syscall.Stat_t
	check(t, syscall.Stat(filepath.Join(root, "sparse"), &st))
	if st.Blocks*512 > 1<<20 {
		t.Errorf("the sparse file takes %d bytes", st.Blocks*512)
	}
	check(t, os.Chmod(filepath.Join(root, "a"), 0o755))
}

// FuzzToTar feeds foreign streams to the host, which makes an archive of them that tar takes.
func FuzzToTar(f *testing.F) {
	f.Add(streamOf(f, kept...))
	for _, r := range refused(f) {
		f.Add(r.stream)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		l := Limits{MaxBytes: 1 << 20, MaxEntries: 1000}
		if _, err := ToTar(t.Context(), bytes.NewReader(b), &out, l); err != nil {
			return
		}
		name := saved(t, "a.tar", out.Bytes())
		_, err := Pack(t.Context(), &bytes.Buffer{}, name, PackOptions{Limits: l})
		var refused *RefusedError
		if err != nil && !errors.As(err, &refused) && !errors.Is(err, ErrLimit) {
			t.Error(err)
		}
	})
}
