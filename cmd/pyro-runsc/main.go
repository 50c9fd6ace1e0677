// Pyro-runsc is gVisor's runsc, which runs the guests of --isolation gvisor. It is a module of its own, so
// that what it needs is no dependency of pyro's; its gVisor is the one that pyro's go.mod names.
package main

import (
	"os/signal"
	"syscall"

	"gvisor.dev/gvisor/runsc/cli/maincli"
	"gvisor.dev/gvisor/runsc/version"
)

func main() {
	_ = version.Version() // It is set by the linker.
	// Who ends a job so reaches all of runsc's processes. They end by their supervisor, when the command in
	// the guest has had its grace. Ignored, since a guest's processes, which are forked from the kernel's,
	// have that from it; the kernel itself passes signals on, to a first process that does nothing about
	// them.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	maincli.Main()
}
