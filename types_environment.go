package pyro

import "time"

// ListEnvironmentsResult is the catalog, and what else is installed.
type ListEnvironmentsResult struct {
	Environments []EnvironmentListing `json:"environments"`
}

// EnvironmentListing is one row of the catalog.
type EnvironmentListing struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Description string `json:"description"`
	Installed   bool   `json:"installed"`
	// Problem says why what is there of it cannot be used, if so.
	Problem string `json:"problem,omitempty"`
}

// EnvironmentRequest names an environment.
type EnvironmentRequest struct {
	Environment string `json:"environment" jsonschema:"the environment's name"`
}

// PullEnvironmentRequest asks for an environment to be fetched, built and installed.
type PullEnvironmentRequest struct {
	Environment string `json:"environment" jsonschema:"the environment's name"`
	// Mirror overrides Options.Mirror.
	Mirror string `json:"mirror,omitempty" jsonschema:"Debian mirror to build from"`
	// Force builds anew though the installed one is current.
	Force bool `json:"force,omitempty" jsonschema:"build anew though the installed one is current"`
	// InsecureRegistries are added to Options.InsecureRegistries.
	InsecureRegistries []string `json:"insecure_registries,omitempty" jsonschema:"hosts of registries that may be asked without TLS"`
	// Progress, if set, is called as the pull goes on, from one goroutine at a time.
	Progress func(PullProgress) `json:"-"`
}

// PullProgress is a moment of a pull. Totals are 0 while unknown. Packages are layers if the environment
// is an image.
type PullProgress struct {
	Phase         string `json:"phase"`
	Detail        string `json:"detail,omitempty"`
	BytesDone     int64  `json:"bytes_done"`
	BytesTotal    int64  `json:"bytes_total"`
	PackagesDone  int    `json:"packages_done"`
	PackagesTotal int    `json:"packages_total"`
}

// PullEnvironmentResult is the installed environment. Changed is false if it was already current and
// sound. PreviousOrigin is the origin of the one that was installed before, if any: if a tag moved, it
// differs from the new one's.
type PullEnvironmentResult struct {
	Changed        bool                `json:"changed"`
	Repaired       bool                `json:"repaired,omitempty"` // it was damaged
	PreviousOrigin string              `json:"previous_origin,omitempty"`
	Phases         []PullPhase         `json:"phases"`
	Env            EnvironmentManifest `json:"environment"`
}

// PullPhase is one phase of a finished pull.
type PullPhase struct {
	Name       string `json:"name"`
	DurationMS int64  `json:"duration_ms"`
}

// EnvironmentManifest says what an installed environment is made of. Sizes are in bytes.
type EnvironmentManifest struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Description string `json:"description"`
	Source      string `json:"source"`
	// Mirror and suite, or the image's reference with its digest
	Origin          string               `json:"origin"`
	Architecture    string               `json:"architecture"`
	CreatedAt       time.Time            `json:"created_at"`
	ImagePath       string               `json:"image_path"`
	ImageSHA256     string               `json:"image_sha256"`
	ImageBytes      int64                `json:"image_bytes"`
	KernelVersion   string               `json:"kernel_version"`
	KernelPath      string               `json:"kernel_path"`
	KernelSHA256    string               `json:"kernel_sha256"`
	DownloadedBytes int64                `json:"downloaded_bytes"`
	DiskBytes       int64                `json:"disk_bytes"`
	Packages        []EnvironmentPackage `json:"packages"`
	Layers          []EnvironmentLayer   `json:"layers,omitempty"` // of an image, from the bottom, each once
	Config          *EnvironmentConfig   `json:"config,omitempty"` // of an image, or of what was committed
}

// EnvironmentLayer is one layer of the image that an environment was made of.
type EnvironmentLayer struct {
	MediaType string `json:"media_type"`
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`
}

// EnvironmentConfig is what an image says about how to run commands in it.
type EnvironmentConfig struct {
	Env        []string `json:"env,omitempty"`
	User       string   `json:"user,omitempty"`
	WorkDir    string   `json:"work_dir,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
}

// EnvironmentPackage is one package of an environment.
type EnvironmentPackage struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	SHA256       string `json:"sha256"`
	Size         int64  `json:"size"`
}

// PruneEnvironmentsRequest asks for what nothing uses to be removed.
type PruneEnvironmentsRequest struct {
	DryRun bool `json:"dry_run,omitempty" jsonschema:"remove nothing, and say what would go"`
}

// PruneEnvironmentsResult says what a prune removed, or would remove.
type PruneEnvironmentsResult struct {
	Removed    []string `json:"removed"`
	FreedBytes int64    `json:"freed_bytes"`
	DryRun     bool     `json:"dry_run,omitempty"` // nothing was removed
}

// WarmEnvironmentRequest asks for a template, so that VMs of this shape start warm.
type WarmEnvironmentRequest struct {
	Environment string `json:"environment" jsonschema:"the environment's name"`
	VCPUCount   int    `json:"vcpu_count,omitempty" jsonschema:"virtual CPUs"`
	MemMiB      int    `json:"mem_mib,omitempty" jsonschema:"memory in MiB"`
	Network     bool   `json:"network,omitempty" jsonschema:"with a network device"`
}

// WarmEnvironmentResult is the template made.
type WarmEnvironmentResult struct {
	Environment string `json:"environment"`
	Template    string `json:"template"`
	Bytes       int64  `json:"bytes"`
	DurationMS  int64  `json:"duration_ms"`
}

// NetworkDetails is what NetworkInfo says of a network that is there.
type NetworkDetails struct {
	GuestAddress string          `json:"guest_address,omitempty"`
	Gateway      string          `json:"gateway,omitempty"`
	DNS          string          `json:"dns,omitempty"`
	MAC          string          `json:"mac,omitempty"`
	Policy       *NetworkPolicy  `json:"policy,omitempty"`
	Counters     NetworkCounters `json:"counters"`
	Published    []PublishedPort `json:"published,omitempty"`
	// Decisions are the newest of the log, oldest first.
	Decisions []NetworkDecision `json:"decisions,omitempty"`
}

// NetworkDecision is something that the guest tried, and what became of it.
type NetworkDecision struct {
	Time        time.Time `json:"time"`
	Allowed     bool      `json:"allowed"`
	Protocol    string    `json:"protocol"`
	Destination string    `json:"destination"`
	Name        string    `json:"name,omitempty"`
	Reason      string    `json:"reason"`
	Skipped     int       `json:"skipped,omitempty"`
}

// NetworkPolicy says how far the guest reaches. Mode is public or allow-list.
type NetworkPolicy struct {
	Mode  string   `json:"mode"`
	Allow []string `json:"allow"`
}

// NetworkCounters count since the guest's start.
type NetworkCounters struct {
	BytesIn            int64 `json:"bytes_in"`
	BytesOut           int64 `json:"bytes_out"`
	ConnectionsAllowed int64 `json:"connections_allowed"`
	ConnectionsRefused int64 `json:"connections_refused"`
	ConnectionsFailed  int64 `json:"connections_failed"`
	DNSAnswered        int64 `json:"dns_answered"`
	DNSRefused         int64 `json:"dns_refused"`
	FramesDropped      int64 `json:"frames_dropped"`
}

// PublishedPort is a guest port opened on the host.
type PublishedPort struct {
	HostIP    string `json:"host_ip"`
	HostPort  int    `json:"host_port"`
	GuestPort int    `json:"guest_port"`
}
