package patch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What Make writes git applies, whatever the names and the contents, and the files are then the new ones.
func TestGitAppliesWhatIsMade(t *testing.T) {
	text := func(s string) *Version { return &Version{Content: []byte(s)} }
	all := map[string][2]*Version{
		"changed":          {text("a\nb\nc\n"), text("a\nB\nc\n")},
		"no end":           {text("a\nb"), text("a\nb\nc")},
		"new/in/dir":       {nil, text("x\n")},
		"new and empty":    {nil, text("")},
		"gone":             {text("x\n"), nil},
		"gone and empty":   {text(""), nil},
		"emptied":          {text("x\n"), text("")},
		"made runnable":    {text("x\n"), {Content: []byte("x\n"), Executable: true}},
		"binary":           {text("\x00\x01"), text("\x00" + strings.Repeat("longer", 5000))},
		"binary new":       {nil, text("\xff\xfe")},
		"binary gone":      {text("\xff\xfe"), nil},
		"old name only":    {{Content: nil, BlobID: BlobID([]byte("kept by name\n"))}, text("now\n")},
		"link":             {{Content: []byte("a"), Link: true}, {Content: []byte("b/c"), Link: true}},
		"link of file":     {text("x\n"), {Content: []byte("b/c"), Link: true}},
		"ü \"quoted\"\t\\": {text("a\n"), text("b\n")},
		"new \n line":      {nil, text("b\n")},
	}
	dir, patch := t.TempDir(), ""
	put := func(name string, v *Version) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if v.Link {
			return os.Symlink(string(v.Content), path)
		}
		content := v.Content
		if v.BlobID != "" {
			content = []byte("kept by name\n")
		}
		return os.WriteFile(path, content, 0o644)
	}
	for name, v := range all {
		if v[0] != nil {
			if err := put(name, v[0]); err != nil {
				t.Fatal(err)
			}
		}
		patch += Make(name, v[0], v[1])
	}
	git := exec.Command("git", "-c", "core.fileMode=true", "apply", "-")
	git.Dir, git.Stdin = dir, strings.NewReader(patch)
	git.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, patch)
	}
	for name, v := range all {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		switch {
		case v[1] == nil:
			if err == nil {
				t.Errorf("%q is still there", name)
			}
			continue
		case err != nil:
			t.Error(err)
			continue
		}
		var got []byte
		if v[1].Link {
			target, _ := os.Readlink(path)
			got = []byte(target)
		} else if got, err = os.ReadFile(path); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(got, v[1].Content) || v[1].Executable != (info.Mode()&0o100 != 0) && !v[1].Link {
			t.Errorf("%q became %.40q, mode %v", name, got, info.Mode())
		}
	}
}
