package pyro

import (
	"reflect"
)

// Parameter says what holds for a parameter of this name in every operation that takes it: what it is if it
// is left out, and within which bounds the engine takes it. The faces offer no more and no less.
type Parameter struct {
	// Name is the JSON name.
	Name string
	// Default is what is taken if the parameter is left out; nil is the type's zero, or that it must be
	// given.
	Default any
	// Min and Max bound a number, both included. A Max of 0 is no bounds.
	Min, Max int
	// Words are all that the parameter may be, if there are few.
	Words []string
	// Examples show what it may be like.
	Examples []string
	// Names says whose names the parameter takes, if any: a face may complete or look them up.
	Names Names

	// Type and Optional are an operation's own: see [Operation.Parameters].
	Type     reflect.Type
	Optional bool
}

// Names is a set of names that the engine or its host knows.
type Names string

// The sets of names.
const (
	NamesEnvironments Names = "environments"
	NamesVMs          Names = "vms"
	NamesTasks        Names = "tasks"
	NamesSnapshots    Names = "snapshots"
	NamesHostPaths    Names = "host_paths" // of files on the host; relative to where the caller is
)

// Bounds of what may be asked for.
const (
	maxSeconds     = 1 << 31
	maxNumber      = 1 << 40
	maxMetadata    = 64
	maxMetadataLen = 4096
)

// Parameters lists what is known of parameters, by their names.
func Parameters() []Parameter {
	return []Parameter{
		{Name: "environment", Examples: []string{"debian:12", "debian:12-build"}, Names: NamesEnvironments},
		{Name: "vm_id", Names: NamesVMs},
		{Name: "task_id", Names: NamesTasks},
		{Name: "snapshot", Names: NamesSnapshots, Examples: []string{"prepared"}},
		number("count", 1, 1, 100),
		number("vcpu_count", DefaultVCPUCount, 1, 64),
		number("mem_mib", DefaultMemMiB, 128, 1<<20),
		number("disk_mib", DefaultDiskMiB, 256, 1<<22),
		number("ttl_seconds", DefaultTTLSeconds, 0, maxSeconds),
		number("timeout_seconds", DefaultTimeoutSeconds, 0, maxSeconds),
		{Name: "keep_warm", Min: 0, Max: 86400},
		number("wait_seconds", DefaultWaitSeconds, 0, maxSeconds),
		number("grace_seconds", DefaultGraceSeconds, 0, 3600),
		{Name: "network", Default: false},
		{Name: "allow_host_compat", Default: false},
		{Name: "isolation", Words: IsolationChoices()},
		{Name: "command", Examples: []string{"git --version", "cd /workspace && make test"}},
		{Name: "sequence", Min: 0, Max: maxNumber},
		{Name: "offset_bytes", Min: 0, Max: maxNumber},
		{Name: "max_bytes", Min: 0, Max: maxNumber},
		{Name: "source_path", Names: NamesHostPaths},
		{Name: "host_path", Names: NamesHostPaths},
		number("max_entries", DefaultListEntries, 0, 100_000),
	}
}

// number is a number that may be left out.
func number(name string, otherwise, least, most int) Parameter {
	return Parameter{
		Name:    name,
		Default: otherwise,
		Min:     least,
		Max:     most,
	}
}

// ParameterNamed finds what is known of a parameter. One without a row has no more to it than its type.
func ParameterNamed(name string) Parameter {
	for _, p := range Parameters() {
		if p.Name == name {
			return p
		}
	}
	return Parameter{Name: name}
}

// check refuses a number that is out of a parameter's bounds.
func (p Parameter) check(value int) error {
	if p.Max != 0 && (value < p.Min || value > p.Max) {
		return invalid("%s is %d, not between %d and %d", p.Name, value, p.Min, p.Max)
	}
	return nil
}
