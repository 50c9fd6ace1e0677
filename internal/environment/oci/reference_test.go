package oci

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for name, want := range map[string]string{
		"docker.io/library/python:3.12-slim": "docker.io/library/python:3.12-slim",
		"docker.io/python":                   "docker.io/library/python:latest",
		"index.docker.io/python":             "docker.io/library/python:latest",
		"ghcr.io/a/b/c@" + digest:            "ghcr.io/a/b/c@" + digest,
		"ghcr.io/a/b:1@" + digest:            "ghcr.io/a/b@" + digest,
		"localhost:5000/x":                   "localhost:5000/x:latest",
		"[::1]:5000/x:2":                     "[::1]:5000/x:2",
		"registry:5000/x":                    "registry:5000/x:latest",
		"oci:/a/b:c":                         "oci:/a/b:c",
		"oci:/a/../b":                        "oci:/b",
		"oci-archive:/a.tar":                 "oci-archive:/a.tar",
		"docker-archive:/a.tar:x.io/y:1":     "docker-archive:/a.tar:x.io/y:1",
		"docker.io/UPPER":                    "docker.io/UPPER",
		"debian:12":                          "",
		"python":                             "",
		"library/python":                     "",
		"./dir/x":                            "",
		"/a.tar":                             "",
		"":                                   "",
		"/":                                  "",
	} {
		if full, ok := match(name); full != want || ok != (want != "") {
			t.Errorf("match(%q) = %q, %v, want %q", name, full, ok, want)
		}
	}
	for name, want := range map[string]string{
		"python:3.12-slim": "docker.io/library/python:3.12-slim",
		"library/python":   "docker.io/library/python:latest",
		"grafana/grafana":  "docker.io/grafana/grafana:latest",
		"./dir":            "oci:./dir",
		"/x/image.tar":     "oci-archive:/x/image.tar",
		"UPPER":            "",
		"":                 "",
	} {
		if full, ok := suggest(name); full != want || ok != (want != "") {
			t.Errorf("suggest(%q) = %q, %v, want %q", name, full, ok, want)
		}
	}
}

// A full name is its own full name, and nothing else than a name comes of one.
func FuzzMatch(f *testing.F) {
	for _, seed := range []string{"docker.io/library/python:3.12-slim", "oci:dir", "docker-archive:a:b:c",
		"[::1]:5/x@sha256:", "a.b/c:d@e", "oci:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		full, ok := match(name)
		if !ok {
			return
		}
		if again, ok := match(full); !ok || again != full {
			t.Errorf("%q became %q, which became %q", name, full, again)
		}
		if _, err := parse(full); err == nil && strings.HasPrefix(full, "/") {
			t.Errorf("%q became %q", name, full)
		}
	})
}
