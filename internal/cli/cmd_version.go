package cli

import (
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build says what this program was made from.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"`
	Date     string `json:"commit_date"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "version",
		Short:             "Show the version, and what the program was built from",
		Example:           "  pyro version\n  pyro version --json",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			b := readBuild(a.version)
			return a.print(b, func(w io.Writer) {
				revision := b.Revision
				if b.Modified {
					revision += " (modified)"
				}
				table(w, []string{"pyro", b.Version}, []string{"revision", revision},
					[]string{"commit date", b.Date},
					[]string{"go", b.Go}, []string{"platform", b.Platform})
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func readBuild(version string) build {
	b := build{
		Version:  version,
		Revision: "unknown",
		Date:     "unknown",
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
