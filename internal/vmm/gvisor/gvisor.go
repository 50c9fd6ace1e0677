// Package gvisor runs guests in gVisor: a kernel that is a program of the host's, confined, which the
// guest's system calls end in. There is no virtual machine, so that a guest computes at nearly the speed of
// its host if there is no KVM.
//
// Each guest is one runsc with its children. They get their images and sockets open or by path, no network
// and no directory of the host's.
package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Name is the driver's name, and that of the isolation that it gives.
const Name = "gvisor"

// Program is the name of the companion program.
const Program = "pyro-runsc"

// Options are for New. The zero value works.
type Options struct {
	// Binary is runsc's executable. Empty is [Program] beside this program, else on PATH.
	Binary string
}

// Driver is the [vmm.Driver] for gVisor.
type Driver struct{ binary string }

// New returns a driver. It touches nothing yet.
func New(options Options) *Driver { return &Driver{options.Binary} }

// Name is "gvisor".
func (d *Driver) Name() string { return Name }

// Abilities: such a guest has no kernel of its own and is started anew each time.
func (d *Driver) Abilities() vmm.Abilities { return vmm.Abilities{Network: true, Boxed: true} }

// Path finds runsc's executable.
func (d *Driver) Path() (string, error) {
	if d.binary != "" {
		if _, err := exec.LookPath(d.binary); err != nil {
			return "", missing{fmt.Errorf("%q is %w", d.binary, vmm.ErrMissing)}
		}
		return filepath.Abs(d.binary)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Dir(self)
		for _, dir := range []string{beside, filepath.Join(beside, "..", "lib", "pyro")} {
			if path, err := exec.LookPath(filepath.Join(dir, Program)); err == nil {
				return path, nil
			}
		}
	}
	path, err := exec.LookPath(Program)
	if err != nil {
		return "", missing{fmt.Errorf("%s is %w", Program, vmm.ErrMissing)}
	}
	return filepath.Abs(path)
}

// missing knows what to do about a program that is not there.
type missing struct{ error }

// Unwrap gives the error that it is.
func (m missing) Unwrap() error { return m.error }

// Hint says what to do.
func (m missing) Hint() string {
	return "Install " + Program + ", which comes with pyro, or name a runsc in PYRO_RUNSC."
}

// Fingerprint is of no use: nothing is frozen.
func (d *Driver) Fingerprint(context.Context, vmm.Accelerator) (string, error) {
	return "", errors.New("gvisor freezes no guests")
}

// Accelerator is none.
func (d *Driver) Accelerator(context.Context, vmm.Accelerator, vmm.Boot) (vmm.Choice, error) {
	_, err := d.Path()
	return vmm.Choice{}, err
}
