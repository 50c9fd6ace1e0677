package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKeep changes a disk between saves, and wants another that is restored from all of them to be the same.
func TestKeep(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	root := openRoot(t, from)
	k := &keeper{root: root}
	var kept bytes.Buffer
	save := func(full bool) int {
		t.Helper()
		var part bytes.Buffer
		if err := k.save(context.Background(), full, &part); err != nil {
			t.Fatal(err)
		}
		kept.Write(binary.LittleEndian.AppendUint64(nil, uint64(part.Len())))
		kept.Write(part.Bytes())
		return part.Len()
	}
	old := time.Unix(1500000000, 42)
	must(t, root.Mkdir("d", 0o750), root.WriteFile("d/file", []byte("one"), 0o640),
		root.WriteFile("big", bytes.Repeat([]byte("x"), 1<<20), 0o600), root.Symlink("nowhere", "link"),
		root.Link("d/file", "hard"), unix.Mkfifo(filepath.Join(from, "fifo"), 0o600),
		root.Mkdir("dir-to-file", 0o700),
		root.WriteFile("dir-to-file/in", nil, 0o600), root.Chtimes("d", old, old))
	save(false)
	must(t, root.WriteFile("d/file", []byte("two"), 0o600), root.RemoveAll("dir-to-file"),
		root.WriteFile("dir-to-file", []byte("file"), 0o600), root.Remove("link"), root.Chmod("fifo", 0o644),
		root.Mkdir("new", 0o711), root.Rename("new", "renamed"), root.Chtimes("d", old, old))
	if n := save(false); n > 64<<10 {
		t.Errorf("the second save has %d bytes, of a file that has not changed", n)
	}
	kept.Write(binary.LittleEndian.AppendUint64(nil, 0)) // one that was not finished
	kept.WriteString("rubbish")
	other := openRoot(t, to)
	if err := restore(other, &kept); err != nil {
		t.Fatal(err)
	}
	if want, have := listing(t, root), listing(t, other); want != have {
		t.Errorf("restored is\n%s\nnot\n%s", have, want)
	}
	if n := save(true); n < 1<<20 {
		t.Errorf("a full save has %d bytes", n)
	}
}

// TestKeepSparse keeps files that are mostly zeros, by what else is in them.
func TestKeepSparse(t *testing.T) {
	from, to := openRoot(t, t.TempDir()), openRoot(t, t.TempDir())
	for name, places := range map[string][]int64{
		"empty":  nil,
		"begin":  {0},
		"middle": {sparseFrom + 5, sparseFrom + 7, 3*sparseFrom - 1},
		"end":    {8*sparseFrom - 1},
	} {
		f, err := from.Create(name)
		must(t, err, f.Truncate(8*sparseFrom))
		for _, at := range places {
			_, err := f.WriteAt([]byte("x"), at)
			must(t, err)
		}
		must(t, f.Close())
	}
	var part, kept bytes.Buffer
	must(t, (&keeper{root: from}).save(t.Context(), true, &part))
	if part.Len() > 6*sparseBlock {
		t.Errorf("what is nearly empty is sent as %d bytes", part.Len())
	}
	kept.Write(binary.LittleEndian.AppendUint64(nil, uint64(part.Len())))
	kept.Write(part.Bytes())
	must(t, restore(to, &kept))
	if want, have := listing(t, from), listing(t, to); want != have {
		t.Error("the files are not the same")
	}
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// listing is what can be compared of a disk.
func listing(t *testing.T, root *os.Root) string {
	t.Helper()
	var out strings.Builder
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root.Name(), name), &st); err != nil {
			return err
		}
		at := stampOf(&st)
		when := at.mtime.Nano()
		if info.Mode()&fs.ModeSymlink != 0 {
			when = 0
		}
		var content []byte
		if info.Mode().IsRegular() {
			if content, err = root.ReadFile(name); err != nil {
				return err
			}
		}
		fmt.Fprintf(&out, "%s %v %d:%d %d %d %q\n",
			name, info.Mode(), at.uid, at.gid, at.nlink, when, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
