package environment

import (
	"context"
	"io"
	"time"
)

// Source makes environments of one kind. The store asks each in turn.
type Source interface {
	// Offers lists the environments that the source has a fixed name for.
	Offers() []Offer
	// Match tells whether name, which need not be an offered one, is for this source to resolve, and gives
	// its full form, under which the environment is kept.
	Match(name string) (full string, ok bool)
	// Resolve finds out what the name stands for now and verifies it, with no more traffic than that takes.
	// It uses nothing of the workshop after the pull has ended.
	Resolve(ctx context.Context, w *Workshop) (Plan, error)
}

// Suggester is a Source that can tell what a name which no source takes may stand for elsewhere.
type Suggester interface {
	Suggest(name string) (full string, ok bool)
}

// Offer is an environment in a source's catalog.
type Offer struct {
	Name, Version, Description, Source string
}

// Plan is a name resolved. Equal digests mean the same environment, which is then not built again.
type Plan struct {
	InputsSHA256 string // over all that the image is made of, and how
	// Build makes the image in the workshop. The store fills in what it knows itself: the name, the digest of
	// the inputs, the time, and the final place of the image.
	Build func(ctx context.Context) (Manifest, error)
	Close func() error // called when the pull has ended, if it is set
}

// Configurer boots a VM from an unconfigured image, runs a script in it, and tells what that changed.
type Configurer interface {
	// Configure runs script with /bin/sh as root in a VM made of b, without a network. What the script prints
	// goes to output as it comes. When the script has ended with status 0 the files that it made, changed and
	// deleted go to changes, as one uncompressed tar with OCI whiteouts; any other end is an error.
	Configure(ctx context.Context, b Boot, script string, output, changes io.Writer) error
}

// Boot is what a VM starts from.
type Boot struct {
	Kernel Kernel
	Image  string // path of the root file system, read-only EROFS
}

// PullRequest says what to pull. Without a Configurer only sources work that need none.
type PullRequest struct {
	Name       string
	Mirror     string         // base address of the source's archive; empty is the source's own choice
	Force      bool           // build again even if the inputs are the same
	Configure  Configurer     // needed if packages bring scripts
	Progress   func(Progress) // called from any goroutine, one call at a time; may be nil
	Registries Registries     // for images
}

// Registries says how container registries may be spoken to.
type Registries struct {
	// Hosts, with their ports if any, that may be asked without TLS, or with a certificate nobody vouches for
	Insecure []string
}

// PullResult is an installed environment.
type PullResult struct {
	Manifest Manifest
	Changed  bool   // false if the installed one already was what the name stands for
	Repaired bool   // it was what the name stands for, but damaged
	Previous string // the Reference of the one that was installed before, if any
	Phases   []Phase
	Duration time.Duration
}

// PruneRequest says what must stay.
type PruneRequest struct {
	// InUse tells the digests of images and of kernels that VMs use, besides those that are recorded (see
	// [Store.Use]). It is called while nothing can be started; an error of it is Prune's, before anything
	// is removed.
	InUse  func() ([]string, error)
	All    bool // also the installed environments that no VM uses, and every download
	DryRun bool // removes nothing, and says what would go
}

// PruneResult is what went.
type PruneResult struct {
	Removed    []string // names relative to the store's directory
	FreedBytes int64
}
