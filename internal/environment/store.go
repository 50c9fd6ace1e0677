package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pyro-mcp/pyro/internal/text"
	"golang.org/x/sys/unix"
)

// ErrUnknown is in the chain of errors about a name that no source knows.
var ErrUnknown = errors.New("unknown environment")

// ErrNotInstalled is in the chain of errors about an environment that has to be pulled first.
var ErrNotInstalled = errors.New("environment is not installed")

// ErrBusy is in the chain of errors of a Prune that another process's pull or start stands in the way of.
var ErrBusy = errors.New("environments are being used right now")

// Store is a cache directory with what was pulled into it. Any number of processes may use one at the same
// time.
//
//	environments/NAME.json   manifests, each written last
//	images/SHA256/           root file systems, named by their own digest
//	kernels/KEY/             kernels with their modules
//	initrds/KEY              initramfs
//	packages/SHA256.deb      downloads, verified
//	blobs/SHA256             images' layers, verified, shared by those that have them
//	locks/, tmp/, partial/   what is being worked on
type Store struct {
	dir     string
	sources []Source
}

// Open returns the store in dir, which is made when something has to be kept.
func Open(dir string, sources ...Source) *Store {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return &Store{dir: dir, sources: sources}
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// manifestSuffix ends the names of manifests.
const manifestSuffix = ".json"

// manifestPath is where the manifest of a name is kept.
func (s *Store) manifestPath(name string) string {
	return s.path("environments", fileName(name)+manifestSuffix)
}

// fileName makes one path element of an environment's name.
func fileName(name string) string { return url.PathEscape(name) }

// List returns the catalog and whatever else is installed, in the order of the sources' offers, then by name.
// A manifest that cannot be read is told of, and is in the way of no other.
func (s *Store) List() ([]Listing, error) {
	all, err := s.manifests()
	if err != nil {
		return nil, err
	}
	var list []Listing
	for _, source := range s.sources {
		for _, o := range source.Offers() {
			l := Listing{
				Name:        o.Name,
				Version:     o.Version,
				Description: o.Description,
				Source:      o.Source,
			}
			if m, ok := all.take(o.Name); ok {
				l.Installed, l.ImageSHA256, l.DiskBytes = true, m.Image.SHA256, m.DiskBytes
			}
			if err, ok := all.unread[o.Name]; ok {
				l.Problem = err.Error()
				delete(all.unread, o.Name)
			}
			list = append(list, l)
		}
	}
	for _, m := range all.sound {
		list = append(list, Listing{
			Name:        m.Name,
			Version:     m.Version,
			Description: m.Description,
			Source:      m.Source,
			Installed:   true,
			ImageSHA256: m.Image.SHA256,
			DiskBytes:   m.DiskBytes,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(all.unread)) {
		list = append(list, Listing{Name: name, Problem: all.unread[name].Error()})
	}
	return list, nil
}

// manifestSet is what is known of all that is installed.
type manifestSet struct {
	sound  []Manifest       // by name
	unread map[string]error // why, by the environment's name
}

// take takes one out.
func (a *manifestSet) take(name string) (Manifest, bool) {
	i := slices.IndexFunc(a.sound, func(m Manifest) bool { return m.Name == name })
	if i < 0 {
		return Manifest{}, false
	}
	m := a.sound[i]
	a.sound = slices.Delete(a.sound, i, i+1)
	return m, true
}

// manifests returns those of all installed environments. A name no source knows any more is still there. One
// that is another user's alone is as good as not there.
func (s *Store) manifests() (manifestSet, error) {
	all := manifestSet{unread: map[string]error{}}
	names, err := os.ReadDir(s.path("environments"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return all, fmt.Errorf("cannot list the installed environments: %w", err)
	}
	for _, d := range names {
		base, ok := strings.CutSuffix(d.Name(), manifestSuffix)
		name, err := url.PathUnescape(base)
		if !ok || err != nil || fileName(name) != base {
			continue
		}
		m, err := s.read(name)
		switch {
		case errors.Is(err, ErrNotInstalled), errors.Is(err, fs.ErrPermission):
		case err != nil:
			all.unread[name] = err
		default:
			all.sound = append(all.sound, m)
		}
	}
	return all, nil
}

// Get returns the manifest of an installed environment; ErrUnknown or ErrNotInstalled otherwise.
func (s *Store) Get(name string) (Manifest, error) {
	source, full := s.source(name)
	m, err := s.read(full)
	if errors.Is(err, ErrNotInstalled) && source == nil {
		return Manifest{}, s.unknown(name)
	}
	return m, err
}

// manifestFormat is raised if an older pyro could not use, or would spoil, what a newer one keeps.
const manifestFormat = 1

// maxManifest bounds a manifest as it is read.
const maxManifest = 32 << 20

// ErrNewer is in the chain of the error about a manifest that a newer pyro wrote.
var ErrNewer = errors.New("written by a newer version of pyro")

// read returns a manifest whose image and kernel are there.
func (s *Store) read(name string) (Manifest, error) {
	missing := fmt.Errorf("%w: %q", ErrNotInstalled, name)
	data, err := s.readManifest(s.manifestPath(name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENAMETOOLONG) {
		return Manifest{}, missing
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("cannot read the manifest of %q: %w", name, err)
	}
	m, err := parseManifest(data)
	if errors.Is(err, ErrNewer) {
		return Manifest{}, fmt.Errorf("cannot use the manifest of %q: it was %w", name, err)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("cannot read the manifest of %q (pull it again): %w", name, err)
	}
	for _, p := range m.paths() {
		if *p == "" {
			continue
		}
		*p = s.path(filepath.FromSlash(*p))
		if _, err := os.Stat(*p); err != nil {
			return Manifest{}, missing
		}
	}
	return m, nil
}

// readManifest follows a link that is this user's own, or root's: nobody else's.
func (s *Store) readManifest(path string) ([]byte, error) {
	data, err := readSmall(path, maxManifest)
	if !errors.Is(err, unix.ELOOP) {
		return data, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, err
	}
	if st.Uid != 0 && st.Uid != uint32(os.Geteuid()) {
		return nil, errors.New("it is a link that another user made")
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return readSmall(real, maxManifest)
}

// parseManifest reads a manifest and refuses one whose paths lead out of the store.
func parseManifest(data []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return m, err
	}
	if m.Format > manifestFormat {
		return m, ErrNewer
	}
	for _, p := range m.paths() {
		if *p != "" && !filepath.IsLocal(filepath.FromSlash(*p)) {
			return m, fmt.Errorf("its path %q leads out of the store", *p)
		}
	}
	return m, nil
}

// write keeps m as what its name stands for. This is the moment of installation.
func (s *Store) write(m Manifest, mode fs.FileMode) error {
	m.Format = manifestFormat
	for _, p := range m.paths() {
		if *p == "" {
			continue
		}
		rel, err := filepath.Rel(s.dir, *p)
		if err != nil || !filepath.IsLocal(rel) {
			return fmt.Errorf("cannot keep the manifest of %q: %q is not in the store", m.Name, *p)
		}
		*p = filepath.ToSlash(rel)
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return writeMode(s.manifestPath(m.Name), append(data, '\n'), mode)
}

func (m *Manifest) paths() []*string {
	return []*string{&m.Image.Path, &m.Kernel.Path, &m.Kernel.ModulesDir}
}

// source finds the source of a name, and the name's full form. Without a source that is the name itself.
func (s *Store) source(name string) (Source, string) {
	for _, source := range s.sources {
		if full, ok := source.Match(name); ok {
			return source, full
		}
	}
	return nil, name
}

// unknownError is ErrUnknown if we can tell what may have been meant.
type unknownError struct {
	error
	hint string
}

func (e *unknownError) Hint() string  { return e.hint }
func (e *unknownError) Unwrap() error { return e.error }

// unknown says that a name is, and which one may have been meant.
func (s *Store) unknown(name string) error {
	list, err := s.List()
	if err != nil {
		return err
	}
	known := make([]string, len(list))
	for i, k := range list {
		known[i] = k.Name
	}
	if nearest := text.Nearest(name, known); nearest != "" {
		return &unknownError{fmt.Errorf("%w %q", ErrUnknown, name), fmt.Sprintf("did you mean %q?", nearest)}
	}
	for _, source := range s.sources {
		suggester, ok := source.(Suggester)
		if !ok {
			continue
		}
		if full, ok := suggester.Suggest(name); ok {
			return &unknownError{fmt.Errorf("%w %q", ErrUnknown, name),
				fmt.Sprintf("if you mean the image of that name, write %q", full)}
		}
	}
	return fmt.Errorf("%w %q", ErrUnknown, name)
}

// Offers tells whether a source has the name in its catalog.
func (s *Store) Offers(name string) bool {
	return slices.ContainsFunc(s.sources, func(source Source) bool {
		return slices.ContainsFunc(source.Offers(), func(o Offer) bool { return o.Name == name })
	})
}

// Hold keeps Prune away until release is called, so that an image that Get names is there when a VM opens it.
func (s *Store) Hold(ctx context.Context) (release func(), err error) {
	l, err := takeLock(ctx, s.path("locks", "store"), unix.LOCK_SH)
	if err != nil {
		return nil, fmt.Errorf("cannot hold the environments: %w", err)
	}
	return l.unlock, nil
}
