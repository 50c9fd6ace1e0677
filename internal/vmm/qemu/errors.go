package qemu

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// hinted is an error with a remedy.
type hinted struct {
	error
	hint string
}

// Unwrap gives the error without its remedy.
func (h hinted) Unwrap() error { return h.error }

// Hint is the remedy.
func (h hinted) Hint() string { return h.hint }

// packages has QEMU's package on each distribution, for the hints.
const packages = "qemu-system-x86 (Debian, Ubuntu), qemu-system-x86-core (Fedora), qemu-base (Arch), " +
	"qemu-x86 (openSUSE), qemu-system-x86_64 (Alpine)"

// packagesArm is the same for arm64 hosts.
const packagesArm = "qemu-system-arm (Debian, Ubuntu), qemu-system-aarch64-core (Fedora), " +
	"qemu-system-aarch64 (Arch), qemu-arm (openSUSE), qemu-system-aarch64 (Alpine)"

func missing(binary string) error {
	names := packages
	if strings.HasSuffix(binary, "aarch64") {
		names = packagesArm
	}
	return hinted{
		fmt.Errorf("%s is %w", binary, vmm.ErrMissing),
		"install QEMU; its package is " + names,
	}
}

// classify finds the cause that a caller may act on in what QEMU wrote before it ended.
func classify(ending, wrote, last string) error {
	for _, sign := range []string{"Cannot allocate memory", "cannot set up guest memory",
		"unable to map backing store"} {
		if strings.Contains(wrote, sign) {
			return hinted{
				fmt.Errorf("%s: %w%s", ending, vmm.ErrNoMemory, after(last)),
				"give the guest less memory, or end other programs",
			}
		}
	}
	return errors.New(ending + after(last))
}
