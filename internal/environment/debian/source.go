// Package debian makes environments of Debian's signed archive: InRelease checked against Debian's keys, each
// file against the digests that it leads to, packages unpacked without root, and configured inside a VM.
package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// MirrorVariable is the environment variable that names the mirror if the request does not.
const MirrorVariable = "PYRO_DEBIAN_MIRROR"

// kernelSuite is where the kernel of images from elsewhere comes from.
const kernelSuite = "bookworm"

// Options are for special places and for tests; the zero value is right otherwise.
type Options struct {
	// Default is what MirrorVariable says, else what the host's apt uses, else Debian's own
	Mirror       string
	AptDir       string             // where the host's apt is told its sources; default /etc/apt
	Architecture string             // default amd64
	Keys         openpgp.EntityList // default Debian's archive keys
	Now          func() time.Time
}

// Source is Debian's archive as a source of environments.
type Source struct {
	options Options
	catalog catalog
	keys    func() (openpgp.EntityList, error) // to read them takes longer than most commands of pyro's
}

// New returns the source.
func New(o Options) (*Source, error) {
	if o.Mirror == "" {
		o.Mirror = os.Getenv(MirrorVariable)
	}
	if o.AptDir == "" {
		o.AptDir = "/etc/apt"
	}
	if o.Architecture == "" {
		o.Architecture = "amd64"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c, err := readCatalog(catalogData)
	if err != nil {
		return nil, err
	}
	s := &Source{options: o, catalog: c, keys: debianKeys}
	if o.Keys != nil {
		s.keys = func() (openpgp.EntityList, error) { return o.Keys, nil }
	}
	return s, nil
}

// Offers lists the catalog.
func (s *Source) Offers() []environment.Offer {
	var offers []environment.Offer
	for _, r := range s.catalog.Environments {
		offers = append(offers, environment.Offer{
			Name:        r.Name,
			Version:     r.Version,
			Description: r.Description,
			Source:      "debian",
		})
	}
	return offers
}

// Match tells whether the catalog has the name.
func (s *Source) Match(name string) (string, bool) {
	_, err := s.catalog.recipe(name)
	return name, err == nil
}

// Resolve asks the archive which packages the environment is made of now.
func (s *Source) Resolve(ctx context.Context, w *environment.Workshop) (environment.Plan, error) {
	r, err := s.catalog.recipe(w.Name)
	if err != nil {
		return environment.Plan{}, err
	}
	a, err := s.openArchive(ctx, w, r.Suite)
	if err != nil {
		return environment.Plan{}, err
	}
	packages, err := a.solve(append(a.required(), r.Packages...))
	if err != nil {
		return environment.Plan{}, fmt.Errorf("cannot resolve the packages of %q: %w", r.Suite, err)
	}
	kernel, err := a.kernelPackage()
	if err != nil {
		return environment.Plan{}, err
	}
	j := &job{
		w:        w,
		recipe:   r,
		suite:    s.catalog.Suites[r.Suite],
		archive:  a,
		packages: packages,
		kernel:   kernel,
	}
	digest, err := j.digest()
	return environment.Plan{InputsSHA256: digest, Build: j.build}, err
}

// Kernel returns the kernel that images from elsewhere boot with: the one of the environments that are there,
// so that it is fetched and kept once. If there is none, or the pull is forced, the archive is asked.
func (s *Source) Kernel(ctx context.Context, w *environment.Workshop) (environment.Kernel, error) {
	if k, ok := w.SharedKernel(ctx); ok && !w.Request.Force {
		return k, nil
	}
	a, err := s.openArchive(ctx, w, kernelSuite)
	if err != nil {
		return environment.Kernel{}, err
	}
	b, err := a.kernelPackage()
	if err != nil {
		return environment.Kernel{}, err
	}
	var k environment.Kernel
	err = w.FetchAll(ctx, []environment.Blob{b.blob()}, func(_ int, path string) (err error) {
		k, err = keepKernel(ctx, w, b, path)
		return err
	})
	return k, err
}

// required lists the packages that each environment has: the essential ones, and those of priority required.
func (u *universe) required() []string {
	var names []string
	for name, all := range u.raw {
		for _, l := range all {
			if quickField(l.data, "Essential") == "yes" || quickField(l.data, "Priority") == "required" {
				names = append(names, name)
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// blob is the package's file as a download.
func (b *binary) blob() environment.Blob {
	return environment.Blob{
		URLs:   []string{b.base + "/" + b.filename},
		SHA256: b.sha256,
		Size:   b.size,
		Place:  "packages/" + b.sha256 + ".deb",
	}
}

// buildRecipe changes when an image made of the same packages would come out otherwise.
const buildRecipe = 1

// digest is over all that the image is made of.
func (j *job) digest() (string, error) {
	inputs := struct {
		Recipe, Suite, Architecture, Kernel, KernelRecipe, Script string
		Settings                                                  suite
		Build                                                     int
		Packages                                                  []string
	}{
		Recipe:       j.recipe.Name,
		Suite:        j.recipe.Suite,
		Architecture: j.archive.arch,
		Settings:     j.suite,
		Kernel:       j.kernel.sha256,
		KernelRecipe: kernelRecipe,
		Script:       configureScript,
		Build:        buildRecipe,
	}
	for _, b := range j.packages {
		inputs.Packages = append(inputs.Packages, b.sha256)
	}
	data, err := json.Marshal(inputs)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
