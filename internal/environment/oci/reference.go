package oci

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// The schemes of local images, as other tools write them.
const (
	schemeLayout        = "oci"
	schemeLayoutArchive = "oci-archive"
	schemeDockerArchive = "docker-archive"
)

var schemes = [...]string{schemeLayout, schemeLayoutArchive, schemeDockerArchive}

// reference is an image's name taken apart.
type reference struct {
	full   string // by which the environment is known
	scheme string // empty for one in a registry
	path   string // of a local one
	image  string // which one in there, empty for the only one
	remote name.Reference
}

// match tells whether a name is an image's, and gives its full form: with the tag that is meant, and the path
// that means the same from everywhere. A name that is an image's but a wrong one stays as it is.
func match(text string) (string, bool) {
	if _, _, ok := cutScheme(text); !ok && !hasHost(text) {
		return "", false
	}
	ref, err := parse(text)
	if err != nil {
		return text, true
	}
	return ref.full, true
}

func cutScheme(text string) (scheme, rest string, ok bool) {
	for _, s := range schemes {
		if rest, ok := strings.CutPrefix(text, s+":"); ok {
			return s, rest, true
		}
	}
	return "", "", false
}

// hasHost tells whether a name begins with a registry's host, by the rule that other tools have: what stands
// before the first slash has a dot or a colon.
func hasHost(text string) bool {
	host, rest, ok := strings.Cut(strings.TrimPrefix(text, remoteScheme), "/")
	return ok && rest != "" && strings.ContainsAny(host, ".:") && !strings.HasPrefix(host, ".")
}

func parse(text string) (reference, error) {
	scheme, rest, ok := cutScheme(text)
	if !ok {
		return parseRemote(text)
	}
	path, image, _ := strings.Cut(rest, ":")
	if path == "" {
		return reference{}, &failure{text: fmt.Sprintf("%q names no file", text), hint: "write " + scheme +
			":PATH, or " + scheme + ":PATH:NAME for one of several"}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return reference{}, err
	}
	r := reference{
		scheme: scheme,
		path:   abs,
		image:  image,
		full:   scheme + ":" + abs,
	}
	if image != "" {
		r.full += ":" + image
	}
	return r, nil
}

func parseRemote(text string) (reference, error) {
	text = strings.TrimPrefix(text, remoteScheme)
	ref, err := name.ParseReference(text)
	if err != nil {
		return reference{}, &failure{text: fmt.Sprintf("%q is no image's name: %v", text, err),
			hint: "write HOST/NAME:TAG or HOST/NAME@DIGEST", cause: err}
	}
	separator := ":"
	if _, ok := ref.(name.Digest); ok {
		separator = "@"
	}
	full := hostName(ref.Context().RegistryStr()) + "/" + ref.Context().RepositoryStr() + separator +
		ref.Identifier()
	return reference{full: full, remote: ref}, nil
}

// dockerHub is the registry that images without a host are of, by the name that people know and the one that
// it has.
const dockerHub = "docker.io"

func hostName(registry string) string {
	if registry == name.DefaultRegistry {
		return dockerHub
	}
	return registry
}

// suggest gives the full form of a short name, or of what looks like a path.
func suggest(text string) (string, bool) {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
		scheme := schemeLayout
		if filepath.Ext(text) != "" && !strings.HasSuffix(text, ".") {
			scheme = schemeLayoutArchive
		}
		return scheme + ":" + text, true
	}
	ref, err := name.ParseReference(text)
	if err != nil || strings.HasPrefix(text, "localhost/") {
		return "", false
	}
	return parseFull(ref), true
}

func parseFull(ref name.Reference) string {
	r, err := parseRemote(ref.Name())
	if err != nil {
		return ref.Name()
	}
	return r.full
}
