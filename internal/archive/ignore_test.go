package archive

import (
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	all, err := ParsePatterns(strings.Split("# a comment\n\n*.pyc\n/build\nnode_modules/\n"+
		"doc/*.txt\n**/tmp/x\na/**/b\n!keep.pyc\n[ab]?.o\n\\#odd\nü*", "\n"))
	check(t, err)
	for path, want := range map[string]bool{
		"a.pyc": true, "x/y.pyc": true, "x/keep.pyc": false, "build": true,
		"x/build": false, "node_modules/": true,
		"x/node_modules/": true, "node_modules": false, "doc/a.txt": true,
		"doc/x/a.txt": false, "tmp/x": true,
		"p/q/tmp/x": true, "a/b": true, "a/x/y/b": true, "a1.o": true,
		"c1.o": false, "#odd": true, "übung": true,
		"plain": false,
	} {
		name, isDir := strings.CutSuffix(path, "/")
		if got := all.Match(name, isDir); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// No pattern of anybody's breaks anything.
func FuzzPatterns(f *testing.F) {
	f.Add("*.pyc\n!a\n[x", "a/b.pyc")
	f.Add("**/[!a-z]/\\", "a")
	f.Fuzz(func(t *testing.T, lines, path string) {
		all, err := ParsePatterns(strings.Split(lines, "\n"))
		if err == nil {
			all.Match(path, true)
		}
	})
}
