package pyro

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
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

// Parameters are those of an operation, in the order of its struct. A field with the tag default:"none" has no default,
// whatever the table says of its name.
func (o Operation) Parameters() []Parameter {
	var out []Parameter
	for _, f := range reflect.VisibleFields(o.Params) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "" || name == "-" {
			continue
		}
		p := ParameterNamed(name)
		p.Type, p.Optional = f.Type, strings.Contains(options, "omit")
		if f.Tag.Get("default") == "none" {
			p.Default = nil
		}
		out = append(out, p)
	}
	return out
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

// Workspace is the directory in which a task's commands run and which its seed fills.
const Workspace = link.Workspace

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
		{Name: "count", Default: 1, Min: 1, Max: 100},
		{Name: "vcpu_count", Default: DefaultVCPUCount, Min: 1, Max: 64},
		{Name: "mem_mib", Default: DefaultMemMiB, Min: 128, Max: 1 << 20},
		{Name: "disk_mib", Default: DefaultDiskMiB, Min: 256, Max: 1 << 22},
		{Name: "ttl_seconds", Default: DefaultTTLSeconds, Min: 0, Max: maxSeconds},
		{Name: "timeout_seconds", Default: DefaultTimeoutSeconds, Min: 0, Max: maxSeconds},
		{Name: "keep_warm", Min: 0, Max: 86400},
		{Name: "wait_seconds", Default: DefaultWaitSeconds, Min: 0, Max: maxSeconds},
		{Name: "grace_seconds", Default: DefaultGraceSeconds, Min: 0, Max: 3600},
		{Name: "network", Default: false},
		{Name: "allow_host_compat", Default: false},
		{Name: "isolation", Words: IsolationChoices()},
		{Name: "command", Examples: []string{"git --version", "cd /workspace && make test"}},
		{Name: "sequence", Min: 0, Max: maxNumber},
		{Name: "offset_bytes", Min: 0, Max: maxNumber},
		{Name: "max_bytes", Min: 0, Max: maxNumber},
		{Name: "source_path", Names: NamesHostPaths},
		{Name: "host_path", Names: NamesHostPaths},
		{Name: "max_entries", Default: DefaultListEntries, Min: 0, Max: 100_000},
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

// IsolationChoices are what [Shape.Isolation] may be, the default first.
func IsolationChoices() []string { return []string{"vm", "gvisor"} }

// checkIsolation refuses what is none of them.
func checkIsolation(name string) error {
	if choices := IsolationChoices(); !slices.Contains(choices, name) {
		return invalid("isolation %q is none of %s", name, strings.Join(choices, ", "))
	}
	return nil
}

// isolation is what stands between a VM's guest and the host.
func isolation(v record.VM) string {
	if v.ExecutionMode == link.ModeHostCompat {
		return "none"
	}
	return cmp.Or(v.Isolation, IsolationChoices()[0])
}

// Vocabulary gives all that a field of a result may hold, for fields of few words, else nil.
func Vocabulary(field string) []string {
	switch field {
	case "state":
		return []string{string(record.StateCreated), string(record.StateStarted), string(record.StateStopped), string(record.StatePaused)}
	case "execution_mode":
		return []string{link.ModeGuest, link.ModeHostCompat}
	case "accelerator":
		return []string{"kvm", "tcg"}
	case "isolation":
		return append(IsolationChoices(), "none")
	case "mode":
		return []string{"empty", "directory", "tar_archive"}
	}
	return nil
}

// AcceleratorChoices are what [Options.Accelerator] may be.
func AcceleratorChoices() []string { return slices.Concat([]string{"auto"}, Vocabulary("accelerator")) }
