package oci

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// registry is an image in a registry.
type registry struct {
	w      *environment.Workshop
	ref    name.Reference
	user   string // whose credentials are used, empty for nobody's
	guard  *guard
	server environment.Server

	pushing bool // it is written to, and not read
}

// openRegistry finds out how the registry wants to be asked, and shows it the credentials that there are for
// it.
func openRegistry(
	ctx context.Context, w *environment.Workshop, ref reference, keychain authn.Keychain,
) (*registry, error) {
	r := &registry{w: w, ref: ref.remote}
	host := r.ref.Context().RegistryStr()
	r.guard = newGuard(host, w.Request.Registries.Insecure)
	if r.guard.plain() {
		var err error
		if r.ref, err = name.ParseReference(r.ref.Name(), name.Insecure); err != nil {
			return nil, err
		}
	}
	repository := r.ref.Context()
	auth, config, err := askKeychain(ctx, keychain, repository)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, badKeychain(host, err)
	}
	if auth != authn.Anonymous {
		w.Private()
		r.user = cmp.Or(config.Username, "a token")
	}
	known, err := r.connect(ctx, auth)
	if err != nil {
		r.guard.close()
		err = r.explain(err)
		var explained *failure
		if errors.As(err, &explained) || ctx.Err() != nil {
			return nil, err
		}
		why := environment.Plainly(err)
		return nil, &failure{text: fmt.Sprintf("cannot reach the registry %q: %s", hostName(host), why),
			cause: err,
			hint:  "see that its name is right, and that this host reaches it"}
	}
	r.server = environment.Server{Name: "registry", Index: "manifest", Client: &http.Client{Transport: known}}
	return r, nil
}

// credentialsLimit bounds how long a keychain's files and helpers may take.
const credentialsLimit = 30 * time.Second

// askKeychain asks for credentials. It gives up when the context ends, though neither reading a file,
// which may be a FIFO, nor a helper program can be broken off: what is left of them ends with this
// process.
func askKeychain(
	ctx context.Context, keychain authn.Keychain, of authn.Resource,
) (authn.Authenticator, *authn.AuthConfig, error) {
	type answer struct {
		auth   authn.Authenticator
		config *authn.AuthConfig
		err    error
	}
	ctx, cancel := context.WithTimeoutCause(ctx, credentialsLimit,
		fmt.Errorf("nothing came in %v: one of its files is a pipe, or a helper waits for something",
			credentialsLimit))
	defer cancel()
	found := make(chan answer, 1)
	go func() {
		var a answer
		if a.auth, a.err = authn.Resolve(ctx, keychain, of); a.err == nil {
			a.config, a.err = authn.Authorization(ctx, a.auth)
		}
		found <- a
	}()
	select {
	case a := <-found:
		return a.auth, a.config, a.err
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// Attempts at a registry that does not answer as it should, and how long to wait in between.
const (
	connectAttempts = 3
	connectPause    = 250 * time.Millisecond
)

func (r *registry) connect(ctx context.Context, auth authn.Authenticator) (http.RoundTripper, error) {
	repository := r.ref.Context()
	for attempt := 1; ; attempt++ {
		known, err := transport.NewWithContext(ctx, repository.Registry, auth, r.guard,
			[]string{repository.Scope(transport.PullScope)})
		code, _ := status(err)
		if err == nil || attempt == connectAttempts || code < 500 && code != http.StatusTooManyRequests {
			return known, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(connectPause << attempt):
		}
	}
}

func (r *registry) close() error {
	r.guard.close()
	return nil
}

func (r *registry) url(kind, id string) string {
	repository := r.ref.Context()
	return fmt.Sprintf("%s://%s/v2/%s/%s/%s", repository.Scheme(), repository.RegistryStr(),
		repository.RepositoryStr(), kind, id)
}

// find implements origin.
func (r *registry) find(ctx context.Context, architecture string) (found, error) {
	answer, err := r.manifest(ctx, r.ref.Identifier())
	if err != nil {
		return found{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(answer.Data))
	if err != nil {
		return found{}, err
	}
	if pinned, ok := r.ref.(name.Digest); ok && pinned.DigestStr() != digest.String() {
		return found{}, fmt.Errorf("the registry answers with a manifest of the digest %s where %s was "+
			"asked for", digest, pinned.DigestStr())
	}
	top := document{data: answer.Data, digest: digest, mediaType: answer.Header.Get("Content-Type")}
	return choose(ctx, top, architecture, r.read)
}

func (r *registry) manifest(ctx context.Context, id string) (environment.Answer, error) {
	header := http.Header{}
	for _, kind := range manifestTypes {
		header.Add("Accept", string(kind))
	}
	answer, err := r.w.Ask(ctx, environment.Request{
		URL:    r.url("manifests", id),
		Server: r.server,
		Header: header,
		Limit:  maxDocument,
	})
	return answer, r.explain(err)
}

// read returns a manifest or a configuration.
func (r *registry) read(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if isManifest(d.MediaType) || isIndex(d.MediaType) {
		answer, err := r.manifest(ctx, d.Digest.String())
		return answer.Data, err
	}
	answer, err := r.w.Ask(ctx, environment.Request{URL: r.url("blobs", d.Digest.String()), Server: r.server,
		Limit: maxDocument})
	return answer.Data, r.explain(err)
}

// fetch implements origin: layers go into the store by their digests, where other images find them.
func (r *registry) fetch(ctx context.Context, layers []layer, done func(i int, b stored) error) error {
	blobs := make([]environment.Blob, len(layers))
	for i, l := range layers {
		blobs[i] = environment.Blob{
			URLs:   []string{r.url("blobs", l.digest.String())},
			SHA256: l.digest.Hex,
			Size:   l.size,
			Place:  "blobs/" + l.digest.Hex,
			Server: r.server,
		}
	}
	err := r.w.FetchAll(ctx, blobs, func(i int, path string) error {
		return done(i, stored{verified: true, open: func() (io.ReadCloser, error) { return os.Open(path) }})
	})
	if code, _ := status(err); code == http.StatusNotFound {
		return fmt.Errorf("the registry has the image but not all of its layers: %w", err)
	}
	return r.explain(err)
}
