package hostcompat

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/link"
)

func TestSeed(t *testing.T) {
	v := startVM(t)
	source := t.TempDir()
	writeFile(t, filepath.Join(source, "sub", "file"), "content\n")
	if err := errors.Join(os.Mkdir(source+"/empty", 0o750), os.Symlink("sub/file", source+"/link"),
		os.Link(source+"/sub/file", source+"/hard"), os.Chmod(source+"/sub/file", 0o755)); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		_, err := archive.Pack(t.Context(), w, source, archive.PackOptions{})
		w.CloseWithError(err)
	}()
	result, err := v.Import(t.Context(), link.Import{Destination: "/workspace"}, r)
	if err != nil {
		t.Fatal(err)
	}
	if result.Entries < 5 || result.Bytes < 8 {
		t.Errorf("%+v", result)
	}
	out, stderr, code := v.sh(t, "cat link hard && test -d empty && test -x sub/file && test sub/file -ef "+
		"hard && echo more >> sub/file && cat hard")
	if code != 0 || out != strings.Repeat("content\n", 3)+"more\n" {
		t.Errorf("%q %q %d", out, stderr, code)
	}
}

func TestSeedRefused(t *testing.T) {
	v := startVM(t)
	// A file with a path of 6 bytes, no target, permissions 0644, no content, of 1970 and root, and the end.
	stream := "\x02" + "\x06\x00" + "\x00\x00" + "\xa4\x01" + strings.Repeat("\x00", 28) +
		"../out" + "\x00"
	_, err := v.Import(t.Context(), link.Import{Destination: "/workspace"}, strings.NewReader(stream))
	var far *link.Error
	if !errors.As(err, &far) || far.Code != link.CodeBadSeed || !strings.Contains(far.Message, "../out") {
		t.Error(err)
	}
	if _, err := os.Lstat(v.dir + "/out"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}
