package environment

import (
	"context"
	"errors"
)

// ErrUnknown is in the chain of errors about a name that no source knows.
var ErrUnknown = errors.New("unknown environment")

// ErrNotInstalled is in the chain of errors about an environment that has to be pulled first.
var ErrNotInstalled = errors.New("environment is not installed")

// ErrBusy is in the chain of errors of a Prune that another process's pull or start stands in the way of.
var ErrBusy = errors.New("environments are being used right now")

// Store is a cache directory with what was pulled into it. Any number of processes may use one at the same time.
type Store struct {
	dir     string
	sources []Source
}

// Open returns the store in dir, which is made when something has to be kept.
func Open(dir string, sources ...Source) *Store {
	return &Store{dir: dir, sources: sources}
}

// List returns the catalog and whatever else is installed, in the order of the sources' offers, then by name.
func (s *Store) List() ([]Listing, error) { return nil, errors.ErrUnsupported }

// Get returns the manifest of an installed environment; ErrUnknown or ErrNotInstalled otherwise.
func (s *Store) Get(name string) (Manifest, error) { return Manifest{}, errors.ErrUnsupported }

// Pull installs an environment, or brings it up to date. Interrupted at any moment it leaves the old one or none. A
// second pull of the same name waits for the first, and finds its work done.
func (s *Store) Pull(ctx context.Context, r PullRequest) (PullResult, error) {
	return PullResult{}, errors.ErrUnsupported
}

// Prune removes what nothing uses: images of no environment and no VM, downloads and kernels of no environment,
// what dead pulls left. It does not wait: where Hold or Pull is at work it fails with ErrBusy.
func (s *Store) Prune(ctx context.Context, r PruneRequest) (PruneResult, error) {
	return PruneResult{}, errors.ErrUnsupported
}

// Hold keeps Prune away until release is called, so that an image that Get names is there when a VM opens it.
func (s *Store) Hold(ctx context.Context) (release func(), err error) {
	return nil, errors.ErrUnsupported
}

// Initrd returns the path of the initramfs for a kernel and an agent's executable. It is made once.
func (s *Store) Initrd(ctx context.Context, k Kernel, agent []byte) (string, error) {
	return "", errors.ErrUnsupported
}

// Workshop is what a source gets to work with during one pull.
type Workshop struct {
	Request PullRequest
}
