package agent

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// Files are read and written whole, and what is no file is neither waited for nor replaced.
func TestFiles(t *testing.T) {
	c := start(t)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string, size int64) error {
		var info link.FileInfo
		ask := link.WriteFile{Path: in(name), Size: size}
		return c.Give(t.Context(), link.OpWrite, ask, &info, strings.NewReader(content))
	}
	read := func(name string) (string, error) {
		var b bytes.Buffer
		err := c.Take(t.Context(), link.OpRead, link.ReadFile{Path: in(name)}, nil, &b)
		return b.String(), err
	}
	if err := write("a/b", "one", 3); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(in("fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(in("a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, failure := range map[string]error{
		"too short": write("a/b", "tw", 3), "too long": write("a/b", "three", 3),
		"a FIFO":      write("fifo", "x", 1),
		"a directory": write("a", "x", 1),
	} {
		if failure == nil {
			t.Errorf("%s is written", name)
		}
	}
	if got, err := read("a/b"); err != nil || got != "one" {
		t.Errorf("%q, %v", got, err)
	}
	if err := write("a/b", "two", 3); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(in("a/b")); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	for _, name := range []string{"fifo", "a", "missing"} {
		if _, err := read(name); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if left, _ := filepath.Glob(in("a/.pyro-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	var listing bytes.Buffer
	var listed link.Listed
	if err := c.Take(t.Context(), link.OpList, link.ListFiles{Path: dir, Recursive: true, Limit: 2}, &listed,
		&listing); err != nil || !listed.Truncated {
		t.Errorf("%+v, %v", listed, err)
	}
	var found []link.FileInfo
	err := json.Unmarshal(listing.Bytes(), &found)
	if err != nil || len(found) != 2 || found[1].Path != in("a/b") {
		t.Errorf("%+v, %v", found, err)
	}
}

// A replacement is made whole, or nothing of it.
func TestReplace(t *testing.T) {
	c := start(t)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("a"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	replace := func(files ...link.Replacement) error {
		data, err := json.Marshal(link.Replace{Files: files})
		if err != nil {
			t.Fatal(err)
		}
		return c.Give(t.Context(), link.OpReplace, link.Empty{}, nil, bytes.NewReader(data))
	}
	change := link.Replacement{Path: in("a"), Content: []byte("new")}
	if err := replace(change, link.Replacement{Path: in("missing"), Remove: true}); err == nil {
		t.Error("what is not there was removed")
	}
	if got, _ := os.ReadFile(in("a")); string(got) != "old" {
		t.Errorf("a part was made: %q", got)
	}
	more := link.Replacement{Path: in("b/c"), Content: []byte("more"), Mode: 0o700}
	if err := replace(change, more); err != nil {
		t.Fatal(err)
	}
	if names, _ := filepath.Glob(in(".*")); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
	if got, _ := os.ReadFile(in("a")); string(got) != "new" {
		t.Errorf("got %q", got)
	}
	if err := replace(link.Replacement{Path: in("a"), Remove: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(in("a")); !os.IsNotExist(err) {
		t.Errorf("it is there: %v", err)
	}
}
