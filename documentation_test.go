package pyro_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
)

func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCausesAreInTroubleshooting wants a row for each cause that a failure can have.
func TestCausesAreInTroubleshooting(t *testing.T) {
	text := page(t, "troubleshooting.md")
	for _, r := range pyro.Remedies() {
		if r.Cause != "" && !strings.Contains(text, "`"+r.Cause+"`") {
			t.Errorf("docs/troubleshooting.md does not have the cause %q", r.Cause)
		}
	}
}

// othersWords are messages that are not pyro's own, or that it puts together from parts.
var othersWords = []string{"No space left on device", "Could not resolve host", "address already in use",
	"$VAR",
	"qemu-system-x86_64 is not installed", ", which is too old", "qemu was killed from outside",
	", not for linux/amd64"}

// TestMessagesAreThere wants each message of the first columns of troubleshooting in the program, so that
// nobody searches for what is no longer said.
func TestMessagesAreThere(t *testing.T) {
	code, err := readTree(os.DirFS("."), modulePath(t))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, files := range code.packages {
		for _, f := range files {
			data, err := os.ReadFile(f.name)
			if err != nil {
				t.Fatal(err)
			}
			said.Write(data)
		}
	}
	words := regexp.MustCompile(`["`+"`"+`]\s*\+\s*["`+"`"+`]`).ReplaceAllString(said.String(), "")
	words = strings.ReplaceAll(words, `\"`, `"`)
	span := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(page(t, "troubleshooting.md")) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, ""), "|")
		if len(cells) < 3 || cells[0] != "" {
			continue
		}
		for _, m := range span.FindAllStringSubmatch(cells[1], -1) {
			for _, part := range strings.Split(m[1], "…") {
				part = strings.Trim(part, ` "`)
				if len(part) > 3 && !strings.Contains(words, part) && !slices.Contains(othersWords, part) {
					t.Errorf("docs/troubleshooting.md has %q, and no code says %q", m[1], part)
				}
			}
		}
	}
}

// notForUsers are variables by which tests and packaging talk to themselves.
var notForUsers = regexp.MustCompile(`^PYRO_(TEST_.*|VMMTEST_.*|GOARCH|LICENSES|)$`)

// TestSettingsAreDocumented wants a row for each variable that the program or one of its clients reads.
func TestSettingsAreDocumented(t *testing.T) {
	text := page(t, "settings.md")
	variable := regexp.MustCompile(`["']PYRO_[A-Z_]+["']`)
	read := map[string]bool{}
	for _, top := range []string{".", "internal", "mcpserver", "python/src", "typescript/src"} {
		err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if top == "." && name != "." || d.Name() == "node_modules" || d.Name() == "testdata" {
					return fs.SkipDir
				}
				return nil
			}
			ext := filepath.Ext(name)
			if strings.HasSuffix(name, "_test.go") || ext != ".go" && ext != ".py" && ext != ".ts" {
				return nil
			}
			data, err := os.ReadFile(name)
			for _, found := range variable.FindAllString(string(data), -1) {
				read[strings.Trim(found, `"'`)] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(read) < 8 {
		t.Fatalf("only %d variables found: the test looks at the wrong place", len(read))
	}
	for name := range read {
		if !notForUsers.MatchString(name) && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/settings.md does not have %s", name)
		}
	}
}

// TestLinksLeadSomewhere follows each relative link of the documentation.
func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	target := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)|(?:src|srcset)="([^":]+)"`)
	for _, name := range append(pages, "README.md", "CONTRIBUTING.md", "SECURITY.md", "contract/README.md") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range target.FindAllStringSubmatch(string(data), -1) {
			to := filepath.Join(filepath.Dir(name), m[1]+m[3])
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: a link leads to %s, which is not there", name, to)
			}
		}
	}
}

// TestPagesAreInTheIndex wants each page of docs/ to be linked from another.
func TestPagesAreInTheIndex(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	linked := ""
	for _, name := range append(pages, "README.md", "CONTRIBUTING.md") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		linked += string(data)
	}
	for _, name := range pages {
		if base := filepath.Base(name); !strings.Contains(linked, "("+base) &&
			!strings.Contains(linked, "/"+base) {
			t.Errorf("no page leads to %s", name)
		}
	}
}
