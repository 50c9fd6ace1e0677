package agent

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFileSystem tells disks apart by what is on them.
func TestFileSystem(t *testing.T) {
	erofs := make([]byte, 4096)
	copy(erofs[1024:], "\xe2\xe1\xf5\xe0")
	ext4 := make([]byte, 4096)
	copy(ext4[1024+56:], "\x53\xef")
	for want, disk := range map[string][]byte{baseKind: erofs, scratchKind: ext4, "": make([]byte, 4096)} {
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, disk, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := fileSystem(path); got != want {
			t.Errorf("%q is taken for %q", want, got)
		}
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, erofs[:1030], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{short, short + ".missing"} {
		if got := fileSystem(path); got != "" {
			t.Errorf("%s is taken for %q", path, got)
		}
	}
}
