// Package environment keeps named images: a catalog to choose from, a store of what is installed, and the
// pull that turns a verified source into an image, whole or not at all.
package environment

import "time"

// Package is one package that an environment was made of.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	SHA256       string `json:"sha256"`
	Size         int64  `json:"size"`
}

// Layer is one layer of the image that an environment was made of.
type Layer struct {
	MediaType string `json:"media_type"`
	SHA256    string `json:"sha256"` // of the layer as it is stored, or of its tar if only that is known
	Size      int64  `json:"size"`
}

// File is a file in the store.
type File struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Kernel is what a guest boots with. Environments share it.
type Kernel struct {
	Version    string   `json:"version"`     // as in uname -r
	Package    string   `json:"package"`     // the package and its version, joined by "="
	SHA256     string   `json:"sha256"`      // of the kernel image at Path
	Path       string   `json:"path"`        // an uncompressed ELF vmlinux, or the boot image as packaged
	ModulesDir string   `json:"modules_dir"` // holds NAME.ko for each of Modules
	Modules    []string `json:"modules"`     // names in the order of loading
}

// Config is how commands run in the environment unless the caller says otherwise.
type Config struct {
	Env        []string `json:"env,omitempty"`
	User       string   `json:"user,omitempty"`
	WorkDir    string   `json:"work_dir,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
}

// Manifest is what is known about an installed environment. Paths are absolute in memory, and relative to the
// store's directory in its files.
type Manifest struct {
	Format      int    `json:"format"` // of the manifest, see manifestFormat; 0 is what came before the first
	Name        string `json:"name"`
	Version     string `json:"version"`
	Description string `json:"description"`
	Source      string `json:"source"` // "debian", "oci" or "task"
	// What the name stood for: a suite's state, an image's digest
	Reference       string    `json:"reference"`
	Mirror          string    `json:"mirror,omitempty"` // where it was fetched from
	Suite           string    `json:"suite,omitempty"`
	Architecture    string    `json:"architecture"`
	CreatedAt       time.Time `json:"created_at"`
	InputsSHA256    string    `json:"inputs_sha256"` // see Plan
	Image           File      `json:"image"`
	Kernel          Kernel    `json:"kernel"`
	Packages        []Package `json:"packages,omitempty"`
	Layers          []Layer   `json:"layers,omitempty"`
	Config          Config    `json:"config"`
	DownloadedBytes int64     `json:"downloaded_bytes"` // what its inputs weigh, cached or not
	DiskBytes       int64     `json:"disk_bytes"`       // what its image takes on disk
}

// Listing is one line of the catalog.
type Listing struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Description string `json:"description"`
	Source      string `json:"source"`
	Installed   bool   `json:"installed"`
	ImageSHA256 string `json:"image_sha256,omitempty"` // of the installed image
	DiskBytes   int64  `json:"disk_bytes,omitempty"`
	Problem     string `json:"problem,omitempty"` // why what is there of it cannot be used, if so
}

// Phase is how long a part of a pull took. Parts that overlap do not add up to the whole.
type Phase struct {
	Name     string
	Duration time.Duration
}

// Progress is how far a pull is. Totals are zero until they are known.
type Progress struct {
	Phase         string // one of Phases
	Message       string // what is being done, for people
	Bytes         int64
	TotalBytes    int64
	Packages      int
	TotalPackages int
}

// The phases of a pull, in their order.
const (
	PhaseResolve   = "resolve"   // what the name stands for now, verified
	PhaseDownload  = "download"  // packages or layers
	PhaseUnpack    = "unpack"    // into a tree, with the kernel beside it
	PhaseConfigure = "configure" // in a guest
	PhaseImage     = "image"     // the final image, and its digest
)
