package oci

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	kgzip "github.com/klauspost/compress/gzip"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// remoteScheme may stand before a registry's image, as other tools write it.
const remoteScheme = "docker://"

// PushRequest says what to bring into a registry.
type PushRequest struct {
	To         string // HOST/NAME:TAG, which may have docker:// in front
	Registries environment.Registries
	Keychain   authn.Keychain // nil is Docker's configuration, else podman's
	Dir        string         // for temporary files
	// Layer writes the image's one layer as an uncompressed tar, and tells what the image is.
	Layer func(io.Writer) (environment.Manifest, error)
	// Progress is called as the image goes out, with bytes; it may be nil.
	Progress func(done, total int64)
}

// Pushed is an image in a registry.
type Pushed struct {
	Reference string // with its digest, by which it is pulled
	Digest    string // of its manifest
	Bytes     int64  // of the layer as it is stored
}

// Target checks where an image is to go, and gives the place's full form.
func Target(text string) (string, error) {
	ref, err := target(text)
	return ref.full, err
}

func target(text string) (reference, error) {
	short := strings.TrimPrefix(text, remoteScheme)
	if _, _, ok := cutScheme(short); ok || !hasHost(short) {
		return reference{}, &failure{text: fmt.Sprintf("%q names no registry", text),
			hint: "write docker://HOST/NAME:TAG"}
	}
	ref, err := parseRemote(short)
	if err != nil {
		return ref, err
	}
	if _, ok := ref.remote.(name.Digest); ok {
		return ref, &failure{text: fmt.Sprintf("%q has a digest, which is known only afterwards", text),
			hint: "write docker://HOST/NAME:TAG"}
	}
	return ref, nil
}

// Push brings an environment into a registry, as an image with one layer. What the registry has already does
// not go there again.
func Push(ctx context.Context, r PushRequest) (Pushed, error) {
	ref, err := target(r.To)
	if err != nil {
		return Pushed{}, err
	}
	if r.Keychain == nil {
		r.Keychain = authn.DefaultKeychain
	}
	to, auth, err := openTarget(ctx, ref, r)
	if err != nil {
		return Pushed{}, err
	}
	defer to.guard.close()
	layer, m, err := packLayer(r)
	if err != nil {
		return Pushed{}, err
	}
	img, err := assemble(layer, m)
	if err != nil {
		return Pushed{}, err
	}
	if err := to.write(ctx, img, auth, r.Progress); err != nil {
		return Pushed{}, err
	}
	digest, err := img.Digest()
	return Pushed{Reference: ref.pinned(digest), Digest: digest.String(), Bytes: layer.size}, err
}

// openTarget finds out how the registry may be asked, and the credentials that there are for it.
func openTarget(
	ctx context.Context, ref reference, r PushRequest,
) (*registry, authn.Authenticator, error) {
	to := &registry{ref: ref.remote, pushing: true}
	host := to.ref.Context().RegistryStr()
	to.guard = newGuard(host, r.Registries.Insecure)
	if to.guard.plain() {
		var err error
		if to.ref, err = name.ParseReference(to.ref.Name(), name.Insecure); err != nil {
			return nil, nil, err
		}
	}
	auth, config, err := askKeychain(ctx, r.Keychain, to.ref.Context())
	if err != nil {
		return nil, nil, badKeychain(host, err)
	}
	if auth != authn.Anonymous {
		to.user = cmp.Or(config.Username, "a token")
	}
	return to, auth, nil
}

// write sends what the registry lacks of an image.
func (r *registry) write(
	ctx context.Context, img v1.Image, auth authn.Authenticator, progress func(done, total int64),
) error {
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(r.guard)}
	if progress != nil {
		updates := make(chan v1.Update, 16)
		told := make(chan struct{})
		go func() {
			defer close(told)
			for u := range updates {
				if u.Error == nil {
					progress(u.Complete, u.Total)
				}
			}
		}()
		options = append(options, remote.WithProgress(updates))
		defer func() { <-told }() // Write closes the channel.
	}
	err := remote.Write(r.ref, img, options...)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err = r.explain(err); err == nil {
		return nil
	}
	var explained *failure
	if errors.As(err, &explained) {
		return err
	}
	host := hostName(r.ref.Context().RegistryStr())
	return &failure{text: fmt.Sprintf("cannot bring the image to the registry %q: %v", host, err), cause: err,
		hint: "see that its name is right, and that this host reaches it"}
}

// packedLayer is a layer in a file, with its digests.
type packedLayer struct {
	path   string
	digest v1.Hash
	diffID v1.Hash
	size   int64
}

// packLayer compresses the layer into a file.
func packLayer(r PushRequest) (*packedLayer, environment.Manifest, error) {
	f, err := os.Create(filepath.Join(r.Dir, "layer.tar.gz"))
	if err != nil {
		return nil, environment.Manifest{}, err
	}
	stored, plain := sha256.New(), sha256.New()
	z, err := kgzip.NewWriterLevel(io.MultiWriter(f, stored), gzip.BestSpeed)
	if err != nil {
		return nil, environment.Manifest{}, errors.Join(err, f.Close())
	}
	m, err := r.Layer(io.MultiWriter(z, plain))
	err = errors.Join(err, z.Close())
	size, seekErr := f.Seek(0, io.SeekCurrent)
	if err = errors.Join(err, seekErr, f.Close()); err != nil {
		return nil, m, environment.NoSpace(err)
	}
	return &packedLayer{
		path:   f.Name(),
		digest: hashOf(stored),
		diffID: hashOf(plain),
		size:   size,
	}, m, nil
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// Digest, DiffID, Compressed, Size and MediaType make a packed layer one that go-containerregistry knows.
func (p *packedLayer) Digest() (v1.Hash, error) { return p.digest, nil }

// DiffID is the digest of the tar.
func (p *packedLayer) DiffID() (v1.Hash, error) { return p.diffID, nil }

// Compressed opens the layer as it is stored.
func (p *packedLayer) Compressed() (io.ReadCloser, error) { return os.Open(p.path) }

// Size is that of the layer as it is stored, in bytes.
func (p *packedLayer) Size() (int64, error) { return p.size, nil }

// MediaType says that it is a tar in gzip.
func (p *packedLayer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

// assemble makes an image of the layer: the same environment gives the same digest.
func assemble(layer *packedLayer, m environment.Manifest) (v1.Image, error) {
	whole, err := partial.CompressedToLayer(layer)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: m.CreatedAt}
	img, err := mutate.Append(mutate.ConfigMediaType(
		mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), mutate.Addendum{
		Layer:   whole,
		History: v1.History{Created: created, CreatedBy: "pyro env push"},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", cmp.Or(m.Architecture, "amd64"), created
	config.Config = v1.Config{
		Env:        m.Config.Env,
		User:       m.Config.User,
		WorkingDir: m.Config.WorkDir,
		Entrypoint: m.Config.Entrypoint,
		Cmd:        m.Config.Cmd,
		Labels: map[string]string{
			"org.opencontainers.image.title":   m.Name,
			"org.opencontainers.image.version": m.Version,
		},
	}
	return mutate.ConfigFile(img, config)
}

// badKeychain says that credentials cannot be read.
func badKeychain(host string, err error) error {
	return &failure{text: fmt.Sprintf("cannot read the credentials for %q: %v", hostName(host), err),
		cause: err,
		hint: "see auths, credHelpers and credsStore in Docker's config.json (~/.docker, or " +
			"$DOCKER_CONFIG)"}
}

// verb is what is done with the image.
func (r *registry) verb() string {
	if r.pushing {
		return "change"
	}
	return "have"
}
