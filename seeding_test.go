package pyro

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pyro-mcp/pyro/internal/archive"
)

// What git ignores and what the directory's own file names stays behind, and git runs nothing for it.
func TestWhatStaysBehind(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	ran := in("ran")
	for _, err := range []error{
		os.MkdirAll(in("node_modules/x"), 0o755), os.WriteFile(in("node_modules/x/y"), nil, 0o644),
		os.WriteFile(in(".gitignore"), []byte("node_modules/\n*.log\n"), 0o644),
		os.WriteFile(in("a.log"), nil, 0o644), os.WriteFile(in("main.go"), nil, 0o644),
		os.WriteFile(in("notes"), nil, 0o644), os.WriteFile(in(ignoreFile), []byte("notes\n*.go\n"), 0o644),
		os.WriteFile(in("monitor"), []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"config", "core.fsmonitor", in("monitor")}} {
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, includeIgnored := range []bool{false, true} {
		s := seeding{source: dir, exclude: []string{"!main.go"}, includeIgnored: includeIgnored}
		o, ignored, err := s.plan(context.Background(), archive.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(ignored)
		if want := []string{"a.log", "node_modules/"}; !includeIgnored && !slices.Equal(ignored, want) {
			t.Errorf("ignored: %q", ignored)
		}
		for path, want := range map[string]bool{
			"a.log": !includeIgnored, "node_modules": !includeIgnored, "notes": true, "main.go": false,
			".gitignore": false,
		} {
			if got := o.Skip(path, path == "node_modules"); got != want {
				t.Errorf("include ignored %v: %s stays behind: %v", includeIgnored, path, got)
			}
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("git ran a program of the work tree's")
	}
}
