// Package oci makes environments of container images: from a registry, a directory in the OCI image layout,
// or an archive. Each byte is verified against the digest that leads to it before it counts.
package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// Options say what the source needs of others.
type Options struct {
	// Kernel gives the kernel that images boot with, since they bring none.
	Kernel       func(context.Context, *environment.Workshop) (environment.Kernel, error)
	Architecture string // in Go's words; default amd64
	// Default is Docker's configuration with its credential helpers, else podman's
	Keychain authn.Keychain
}

// Source is every container image there is, as a source of environments.
type Source struct {
	options Options
}

// New returns the source.
func New(o Options) *Source {
	if o.Architecture == "" {
		o.Architecture = "amd64"
	}
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	return &Source{o}
}

// Offers lists nothing: images have no catalog here.
func (s *Source) Offers() []environment.Offer { return nil }

// Match tells whether the name is one of an image: with a registry's host, or with the scheme of a local one.
func (s *Source) Match(name string) (string, bool) { return match(name) }

// Suggest tells what a name without a registry stands for if docker run is given it.
func (s *Source) Suggest(name string) (string, bool) { return suggest(name) }

// origin is where an image's parts are.
type origin interface {
	// find tells what the reference stands for now.
	find(ctx context.Context, architecture string) (found, error)
	// fetch calls done for each layer as soon as it can be read, from several goroutines.
	fetch(ctx context.Context, layers []layer, done func(i int, b stored) error) error
	close() error
}

// found is an image whose manifest and configuration are known and verified.
type found struct {
	digest   v1.Hash // of what the reference names: an index, or the image's manifest
	manifest v1.Hash // of the image itself
	config   *v1.ConfigFile
	layers   []layer // from the bottom
}

// layer is one layer as the manifest has it.
type layer struct {
	mediaType string
	digest    v1.Hash // as it is stored; zero in docker's own archives, which do not tell
	size      int64
	diffID    v1.Hash // of the tar in it
	file      string  // its name in an archive
}

// key tells layers of one image apart: the same one may occur more than once.
func (l layer) key() string { return l.digest.Hex + l.file }

// buildRecipe changes when an image made of the same layers would come out otherwise.
const buildRecipe = 1

// Resolve finds out which image the name stands for now.
func (s *Source) Resolve(ctx context.Context, w *environment.Workshop) (environment.Plan, error) {
	ref, err := parse(w.Name)
	if err != nil {
		return environment.Plan{}, err
	}
	from, err := s.open(ctx, w, ref)
	if err != nil {
		return environment.Plan{}, err
	}
	what, err := from.find(ctx, s.options.Architecture)
	if err != nil {
		return environment.Plan{}, errJoin(err, from.close())
	}
	j := &job{
		w:       w,
		ref:     ref,
		from:    from,
		found:   what,
		options: s.options,
	}
	if j.run, err = runConfig(what.config); err != nil {
		return environment.Plan{}, errJoin(err, from.close())
	}
	return environment.Plan{InputsSHA256: digestInputs(what), Build: j.build, Close: from.close}, nil
}

func (s *Source) open(ctx context.Context, w *environment.Workshop, ref reference) (origin, error) {
	switch ref.scheme {
	case schemeLayout:
		return openLayout(ref)
	case schemeLayoutArchive:
		return openLayoutArchive(ctx, w.Dir(), ref)
	case schemeDockerArchive:
		return openDockerArchive(ctx, w.Dir(), ref)
	}
	return openRegistry(ctx, w, ref, s.options.Keychain)
}

// digestInputs is over all that the image is made of.
func digestInputs(f found) string {
	data, err := json.Marshal(map[string]string{"build": fmt.Sprint(buildRecipe),
		"manifest": f.manifest.String()})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
