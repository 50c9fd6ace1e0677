package patch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What git makes of two texts is applied as git does.
func TestAgainstGit(t *testing.T) {
	long := strings.Repeat("line\n", 50)
	for name, texts := range map[string][2]string{
		"a change":       {"one\ntwo\nthree\n", "one\nTWO\nthree\n"},
		"no end":         {"one\ntwo", "one\ntwo\n"},
		"no end after":   {"one\n", "one"},
		"many hunks":     {"a\n" + long + "b\n" + long + "c\n", "A\n" + long + "B\n" + long + "C\nd\n"},
		"made empty":     {"a\nb\n", ""},
		"of nothing":     {"", "a\n"},
		"lines that end": {"a\r\nb\r\n", "a\r\nc\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i, text := range texts {
				name := filepath.Join(dir, string(rune('a'+i)))
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("git", "diff", "--no-index", "a", "b")
			cmd.Dir = dir
			out, _ := cmd.Output() // Its status tells that they differ.
			files, err := Parse(string(out))
			if err != nil || len(files) != 1 {
				t.Fatalf("%v in %s", err, out)
			}
			got, err := files[0].Apply(texts[0])
			if err != nil || got != texts[1] {
				t.Errorf("%q, %v, want %q by %s", got, err, texts[1], out)
			}
		})
	}
}

func TestApply(t *testing.T) {
	diff := "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n"
	files, err := Parse(diff + "diff --git a/n b/n\nnew file mode 100755\n--- /dev/null\n+++ b/n\n" +
		"@@ -0,0 +1 @@\n+new\n" +
		"diff --git a/e b/e\nnew file mode 100644\ndiff --git a/m b/m\nold mode 100644\nnew mode 100755\n" +
		"diff --git a/g b/g\ndeleted file mode 100644\n--- a/g\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n")
	if err != nil || len(files) != 5 {
		t.Fatalf("%+v, %v", files, err)
	}
	for i, want := range []File{{Old: "x", New: "x"}, {New: "n", Mode: 0o755}, {New: "e", Mode: 0o644},
		{Old: "m", New: "m", Mode: 0o755}, {Old: "g"}} {
		if f := files[i]; f.Old != want.Old || f.New != want.New || f.Mode != want.Mode {
			t.Errorf("%d is %+v", i, f)
		}
	}
	if got, err := files[0].Apply("0\n0\none\ntwo\nthree\n"); err != nil || got != "0\n0\none\nTWO\nthree\n" {
		t.Errorf("moved: %q, %v", got, err)
	}
	if _, err := files[0].Apply("one\n2\nthree\n"); err == nil {
		t.Error("it fits where it does not")
	}
	for _, bad := range []string{"", "nothing\n", "--- a\n", "--- a\n+++ b\n@@ -1,9 +1 @@\n-x\n",
		"--- a\n+++ b\n@@ x @@\n",
		"--- a\n+++ b\n@@ -1 +1 @@\nx\n", "--- /dev/null\n+++ /dev/null\n",
		"rename from a\n", "--- a\n+++ b\n@@ -1 +1 @@\n"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzPatch gives foreign patches to foreign texts.
func FuzzPatch(f *testing.F) {
	f.Add("--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n", "one\ntwo\nthree\n")
	f.Add("diff --git a/e b/e\nnew file mode 100644\n", "")
	f.Fuzz(func(t *testing.T, diff, text string) {
		files, err := Parse(diff)
		if err != nil {
			return
		}
		for _, file := range files {
			_, _ = file.Apply(text)
		}
	})
}
