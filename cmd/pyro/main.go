// Command pyro runs commands in microVMs.
package main

import (
	"os"

	"github.com/pyro-mcp/pyro/internal/cli"
)

// version is set by the linker (see the Makefile); a plain go build leaves it empty.
var version string

func main() { os.Exit(cli.Main(version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
