package hostcompat

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"
)

// calls says what no command may call. If the host refuses a namespace that would make a call harmless,
// that call is refused as well.
func calls(l confine.Namespaces) confine.Calls {
	c := confine.Calls{Families: families(l)}
	if !l.Has(confine.PID) {
		c.Denied = slices.Concat(c.Denied, confine.Spies())
	}
	if !l.Has(confine.IPC) {
		c.Denied = slices.Concat(c.Denied, confine.Sharing())
	}
	return c
}

// families gives the kinds of socket that a command may open. A Unix socket is reached through a path, so
// without a view of their own commands could talk to the user's other programs; vsock and others know no
// namespaces.
func families(l confine.Namespaces) []uint32 {
	var allowed []uint32
	if l.Has(confine.Mount) {
		allowed = append(allowed, unix.AF_UNIX)
	}
	if l.Has(confine.Net) {
		allowed = append(allowed, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)
	}
	return allowed
}
