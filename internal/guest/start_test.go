package guest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"golang.org/x/sys/unix"
)

// TestIsNoGuest is the closed list of reasons for which the host may stand in.
func TestIsNoGuest(t *testing.T) {
	for what, row := range map[string]struct {
		err  error
		want bool
	}{
		"no VMM":                   {fmt.Errorf("qemu is %w", vmm.ErrMissing), true},
		"an old VMM":               {fmt.Errorf("qemu is %w", vmm.ErrTooOld), true},
		"KVM was asked for":        {fmt.Errorf("%w: no /dev/kvm", vmm.ErrKVM), true},
		"no agent":                 {&link.Error{Cause: link.CauseNoAgent}, true},
		"a guest that is silent":   {silentError{errors.New("the guest did not start in time")}, true},
		"a kernel that gives up":   {silentError{&link.Error{Cause: link.CausePanic}}, true},
		"too much memory":          {roomFor(1<<40, 0), false},
		"too much for the VMM":     {silentError{fmt.Errorf("qemu: %w", vmm.ErrNoMemory)}, false},
		"a full disk":              {fmt.Errorf("cannot make the disk: %w", unix.ENOSPC), false},
		"the host's disk":          {silentError{&link.Error{Cause: link.CauseHostDisk}}, false},
		"a port that is taken":     {fmt.Errorf("cannot publish: %w", unix.EADDRINUSE), false},
		"no environment":           {errors.New("the environment is not installed: no route to host"), false},
		"what the VMM cannot do":   {&link.Error{Code: link.CodeInvalid}, false},
		"anything else, and no VM": {errors.New("cannot read the initrd"), false},
	} {
		if got := isNoGuest(row.err); got != row.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}
