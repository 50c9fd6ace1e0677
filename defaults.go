package pyro

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// Defaults and limits of the contract.
const (
	DefaultVCPUCount      = 1
	DefaultMemMiB         = 1024
	DefaultTimeoutSeconds = 30
	DefaultGraceSeconds   = 5
	DefaultTTLSeconds     = 600
	DefaultWaitSeconds    = 60
	DefaultMaxActiveVMs   = 4 // at the least: what memory and processors hold
	DefaultDiskMiB        = 8192
)

// Workspace is the directory in which a task's commands run and which its seed fills.
const Workspace = link.Workspace

// IsolationChoices are what [Shape.Isolation] may be, the default first.
func IsolationChoices() []string { return []string{"vm", "gvisor"} }

// checkIsolation refuses what is none of them.
func checkIsolation(name string) error {
	if choices := IsolationChoices(); !slices.Contains(choices, name) {
		return invalid("isolation %q is none of %s", name, strings.Join(choices, ", "))
	}
	return nil
}

// AcceleratorChoices are what [Options.Accelerator] may be.
func AcceleratorChoices() []string { return slices.Concat([]string{"auto"}, Vocabulary("accelerator")) }

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
		return []string{
			string(record.StateCreated), string(record.StateStarted), string(record.StateStopped),
			string(record.StatePaused),
		}
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

// Bounds of what a guest may make on the host, in one download.
const (
	maxDownloadEntries = 5_000_000
	maxDownloadBytes   = 256 << 30
)
