package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newEnvInspect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect NAME",
		Short: "Show what an environment is made of: packages, digests, sizes, paths, source",
		Example: "  pyro env inspect debian:12\n  pyro env inspect debian:12 --json | jq -r " +
			"'.packages[] | .name + \" \" + .version'",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeEnvironment(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := with(a, func(p *pyro.Pyro) (pyro.EnvironmentManifest, error) {
				return p.InspectEnvironment(cmd.Context(), pyro.EnvironmentRequest{Environment: args[0]})
			})
			if err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) { writeManifest(w, e) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// quoteAll shows an argument vector so that its arguments can be kept apart.
func quoteAll(all []string) string {
	quoted := make([]string, len(all))
	for i, arg := range all {
		quoted[i] = strconv.Quote(arg)
	}
	return strings.Join(quoted, " ")
}

func writeManifest(w io.Writer, e pyro.EnvironmentManifest) {
	table(w,
		[]string{"name", e.Name},
		[]string{"version", e.Version},
		[]string{"description", e.Description},
		[]string{"source", e.Source},
		[]string{"origin", e.Origin},
		[]string{"architecture", e.Architecture},
		[]string{"created", e.CreatedAt.Local().Format(time.DateTime)},
		[]string{"image", e.ImagePath},
		[]string{"image size", size(e.ImageBytes)},
		[]string{"image SHA-256", e.ImageSHA256},
		[]string{"kernel", e.KernelVersion},
		[]string{"kernel path", e.KernelPath},
		[]string{"kernel SHA-256", e.KernelSHA256},
		[]string{"downloaded", size(e.DownloadedBytes)},
		[]string{"on disk", size(e.DiskBytes)},
	)
	if c := e.Config; c != nil {
		table(w, []string{"entry point", quoteAll(c.Entrypoint)}, []string{"command", quoteAll(c.Cmd)},
			[]string{"user", c.User},
			[]string{"directory", c.WorkDir}, []string{"variables", quoteAll(c.Env)})
	}
	if len(e.Layers) > 0 {
		fmt.Fprintf(w, "\n%d layers:\n", len(e.Layers))
		rows := [][]string{{"SIZE", "TYPE", "SHA-256"}}
		for _, l := range e.Layers {
			rows = append(rows, []string{size(l.Size), l.MediaType, l.SHA256})
		}
		table(w, rows...)
	}
	if len(e.Packages) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%d packages:\n", len(e.Packages))
	rows := [][]string{{"PACKAGE", "VERSION", "ARCHITECTURE", "SHA-256"}}
	for _, p := range e.Packages {
		rows = append(rows, []string{p.Name, p.Version, p.Architecture, p.SHA256})
	}
	table(w, rows...)
}
