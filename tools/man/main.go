// Command man writes pyro's man pages, from the help texts of its commands. It is a program of its own so
// that pyro does not carry the generator.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/pyro-mcp/pyro/internal/cli"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: man VERSION DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

// write makes one page for each command, dated by SOURCE_DATE_EPOCH if that is set.
func write(version, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the directory of the man pages: %w", err)
	}
	// Each page is titled by its command.
	header := &doc.GenManHeader{Section: "1", Source: "pyro " + version, Manual: "pyro"}
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("cannot read SOURCE_DATE_EPOCH %q as seconds: %w", text, err)
		}
		date := time.Unix(seconds, 0).UTC()
		header.Date = &date
	}
	root := cli.NewCommand(version)
	plain(root)
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("cannot write the man pages: %w", err)
	}
	return nil
}

// plain leaves out the generator's own line, which holds the day of the build.
func plain(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	for _, child := range cmd.Commands() {
		plain(child)
	}
}
