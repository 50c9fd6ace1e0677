package debian

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// universeOf makes an index of lines like "name=version; Depends: a, b; Conflicts: c".
func universeOf(t *testing.T, lines ...string) *universe {
	t.Helper()
	u := newUniverse("amd64")
	if err := u.add([]byte(indexOf(lines...)), "http://example.org"); err != nil {
		t.Fatal(err)
	}
	return u
}

func indexOf(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		id, fields, _ := strings.Cut(line, "; ")
		name, version, _ := strings.Cut(id, "=")
		fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: x\n"+
			"Filename: pool/%s\nSize: 1\nSHA256: %s\nDescription: x\n", name, version, name,
			digestOf([]byte(id)))
		if fields != "" {
			b.WriteString(strings.ReplaceAll(fields, "; ", "\n") + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestSolve(t *testing.T) {
	for _, test := range []struct {
		name, ask string
		index     []string
		want      string // in order, or the error
	}{
		{"dependencies come first", "a", []string{"a=1; Depends: b, c", "b=1; Depends: c", "c=1"}, "c b a"},
		{"the highest version", "a", []string{"a=1", "a=2", "a=1.5"}, "a=2"},
		{"a lower version where the constraint wants it", "a",
			[]string{"a=1; Depends: b (<< 2)", "b=2", "b=1"}, "b=1 a"},
		{"the first alternative that is there", "a", []string{"a=1; Depends: x | c | b", "b=1", "c=1"},
			"c a"},
		{"an alternative that is chosen already", "a b", []string{"a=1; Depends: c | b", "b=1", "c=1"},
			"b a"},
		{"an alternative whose own dependencies lead on", "a",
			[]string{"a=1; Depends: b | c", "b=1; Depends: missing", "c=1"}, "c a"},
		{"a provided name", "a", []string{"a=1; Depends: v", "b=1; Provides: v",
			"c=1; Provides: v; Priority: required"}, "c a"},
		{"a provided version", "a", []string{"a=1; Depends: v (>= 2)", "b=1; Provides: v",
			"c=1; Provides: v (= 2)"}, "c a"},
		{"the real package before one that provides it", "a",
			[]string{"a=1; Depends: v", "b=1; Provides: v", "v=1"}, "v a"},
		{"around a conflict", "a", []string{"a=1; Depends: b | c, d", "b=1; Conflicts: d", "c=1", "d=1"},
			"c d a"},
		{"around what breaks", "a", []string{"a=1; Depends: b | c, d", "b=1", "c=1", "d=1; Breaks: b (<= 1)"},
			"c d a"},
		{"a package does not conflict with what it provides", "a", []string{"a=1; Provides: v; Conflicts: v"},
			"a"},
		{"circles", "a", []string{"a=1; Depends: b", "b=1; Depends: a"}, "b a"},
		{"any architecture", "a", []string{"a=1; Depends: b:any", "b=1; Multi-Arch: allowed"}, "b a"},
		{"pre-dependencies, not recommendations", "a",
			[]string{"a=1; Pre-Depends: b; Recommends: c", "b=1", "c=1"}, "b a"},
		{"not for any architecture", "a", []string{"a=1; Depends: b:any", "b=1"},
			"a (1), which depends on b:any: there is no such package"},
		{"nothing there", "a", nil, "cannot have a: there is no such package"},
		{"no way around a conflict", "a b", []string{"a=1; Conflicts: b", "b=1"},
			"a (1) conflicts with b (1)"},
		{"a version that is not there", "a", []string{"a=1; Depends: b (>= 2)", "b=1"},
			"a (1), which depends on b (>= 2): there is no such package"},
	} {
		t.Run(test.name, func(t *testing.T) {
			set, err := universeOf(t, test.index...).solve(strings.Fields(test.ask))
			if err != nil {
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("got the error %v, want %q", err, test.want)
				}
				return
			}
			var got []string
			for _, b := range set {
				got = append(got, b.name)
			}
			want := strings.Fields(test.want)
			for i, w := range want {
				name, version, _ := strings.Cut(w, "=")
				want[i] = name
				if i < len(set) && version != "" && set[i].version != version {
					t.Errorf("got %s, want %s", set[i], w)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestSolveEnds(t *testing.T) {
	var lines []string
	for i := range 60 { // each can be left out, but the last wants what is not there
		lines = append(lines, fmt.Sprintf("p%d=1; Depends: p%d | q%d, missing | p%d", i, i+1, i, i+1),
			fmt.Sprintf("q%d=1; Depends: p%d", i, i+1))
	}
	if _, err := universeOf(t, lines...).solve([]string{"p0"}); err == nil {
		t.Error("what cannot be was resolved")
	}
}

// TestSolveLikeApt compares with what apt chooses from the same index.
func TestSolveLikeApt(t *testing.T) {
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		t.Fatal("apt-get is missing: apt install apt")
	}
	index := indexOf("a=1; Depends: b (>= 1), v | w, x:any", "b=1", "b=2; Depends: d | e",
		"d=1; Conflicts: zz", "e=1", "f=1; Provides: v",
		"x=3; Multi-Arch: allowed; Depends: y (= 1:2-3)", "y=1:2-3; Pre-Depends: g", "g=1; Recommends: e",
		"z=1; Depends: v, b (<< 3)")
	dir := t.TempDir()
	for _, name := range []string{"lists/partial", "cache/archives/partial", "repo"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{
		"repo/Packages": index, "status": "", "sources.list": "deb [trusted=yes] file:" + dir + "/repo ./\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	options := []string{"-q", "-o", "Dir::State::status=" + dir + "/status", "-o", "Dir::State::lists=" +
		dir + "/lists",
		"-o", "Dir::Etc::sourcelist=" + dir + "/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null", "-o",
		"Dir::Etc::main=/dev/null",
		"-o", "Dir::Etc::parts=/dev/null", "-o", "Dir::Cache=" + dir + "/cache", "-o",
		"APT::Architecture=amd64", "-o", "APT::Architectures::=amd64",
		"-o", "APT::Sandbox::User=", "-o", "Dir::State::extended_states=" + dir + "/extended", "-o",
		"Debug::NoLocking=1"}
	if out, err := exec.Command(apt, append(options, "update")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(apt, append(options, "-s", "--no-install-recommends", "install", "a",
		"z")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var want, got []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "Inst" {
			want = append(want, f[1]+"="+strings.Trim(f[2], "()"))
		}
	}
	u := newUniverse("amd64")
	if err := u.add([]byte(index), ""); err != nil {
		t.Fatal(err)
	}
	set, err := u.solve([]string{"a", "z"})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range set {
		got = append(got, b.name+"="+b.version)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("got %q, apt chooses %q", got, want)
	}
}
