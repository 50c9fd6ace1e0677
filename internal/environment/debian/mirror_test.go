package debian

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pyro-mcp/pyro/internal/environment"
)

func TestFindMirrors(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"sources.list": "# deb http://commented.example/debian bookworm main\n" +
			"deb [arch=amd64 signed-by=/k.gpg] http://one.example/debian/ bookworm main contrib\n" +
			"deb-src http://src.example/debian bookworm main\ndeb cdrom:[Debian]/ bookworm main\n" +
			"deb file:/srv/debian bookworm main\n",
		"sources.list.d/docker.list": "deb https://docker.example/linux/debian bookworm stable\n",
		"sources.list.d/vendor.sources": "Types: deb\nURIs: https://vendor.example/debian/12/prod\n" +
			"Suites: bookworm\nComponents: main\n",
		"sources.list.d/debian.sources": "Types: deb deb-src\nURIs: https://two.example/debian\n" +
			"Suites: bookworm bookworm-updates\nComponents: main\n\n" +
			"Enabled: no\nTypes: deb\nURIs: https://off.example/debian\nSuites: bookworm\n" +
			"Components: main\n\n" +
			"Types: deb\nURIs: http://sec.example/debian-security\nSuites: bookworm-security\n" +
			"Components: main\n",
		"sources.list.d/old.list.save": "deb http://old.example/debian bookworm main\n",
	} {
		path := filepath.Join(dir, name)
		if err := environment.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, requested, dir, codename string
		archive, security              []string
	}{
		{"the host's", "", dir, "bookworm",
			[]string{"http://one.example/debian", "https://two.example/debian", publicArchive},
			[]string{"http://sec.example/debian-security", publicSecurity}},
		{"the host's, for another suite", "", dir, "trixie",
			[]string{"http://one.example/debian", "https://two.example/debian", publicArchive},
			[]string{"http://sec.example/debian-security", publicSecurity}},
		{"asked for", "http://m.example/debian/", dir, "bookworm", []string{"http://m.example/debian"},
			[]string{"http://m.example/debian-security", "http://sec.example/debian-security",
				publicSecurity}},
		{"not on Debian", "", filepath.Join(dir, "none"), "bookworm", []string{publicArchive},
			[]string{publicSecurity}},
	} {
		got := findMirrors(test.requested, test.dir, test.codename)
		if !slices.Equal(got.archive, test.archive) || !slices.Equal(got.security, test.security) {
			t.Errorf("%s: got %q", test.name, got)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "sources.list"), 0); err != nil {
		t.Fatal(err)
	}
	findMirrors("", dir, "bookworm") // must not fail
}

func TestCatalog(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range s.Offers() {
		names = append(names, o.Name)
	}
	for _, want := range []string{"debian:12", "debian:12-base", "debian:12-build"} {
		if _, ok := s.Match(want); !ok || !slices.Contains(names, want) {
			t.Errorf("the catalog lacks %q", want)
		}
	}
	r, err := s.catalog.recipe("debian:12-build")
	for _, want := range []string{"usr-is-merged", "git", "build-essential"} {
		if err != nil || !slices.Contains(r.Packages, want) {
			t.Errorf("debian:12-build lacks %q of what it extends, error %v", want, err)
		}
	}
	for _, bad := range []string{`{"environments":[{"name":"a","suite":"x"}]}`, `[]`} {
		if _, err := readCatalog([]byte(bad)); err == nil {
			t.Errorf("the catalog %s was read", bad)
		}
	}
}
