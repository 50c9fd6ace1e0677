// Pyro-runsc is gVisor's runsc, which runs the guests of --isolation gvisor. It is a module of its own, so
// that what it needs is no dependency of pyro's; its gVisor is the one that pyro's go.mod names.
package main

import (
	"gvisor.dev/gvisor/runsc/cli/maincli"
	"gvisor.dev/gvisor/runsc/version"
)

func main() {
	_ = version.Version() // It is set by the linker.
	maincli.Main()
}
