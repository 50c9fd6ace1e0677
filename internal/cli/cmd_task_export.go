package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskExport(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export ID --output PATH",
		Short: "Copy all that a task changed over its environment to the host",
		Long: `Copies all that a task changed over its environment, /workspace included. A PATH that ends in .tar
becomes a tar as an image's layer is one, with whiteouts for what was removed; any other is a
directory that gets the files. With - the tar goes to stdout.`,
		Example: "  pyro task export \"$id\" --output changes.tar\n" +
			"  pyro task export \"$id\" --output - | tar t",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usagef("%s: --output is missing", cmd.CommandPath())
			}
			request := pyro.ExportTaskRequest{TaskID: args[0], HostPath: output}
			if output == "-" {
				request.Tar = a.stdout
			}
			result, err := with(a, func(p *pyro.Pyro) (pyro.CopyResult, error) {
				result, err := p.ExportTask(cmd.Context(), request)
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			if result.LeftOutCount > 0 {
				a.remark("left out, since it cannot be copied: %s", some(result.LeftOut, result.LeftOutCount))
			}
			if output == "-" {
				return nil
			}
			return a.print(result, func(w io.Writer) { fmt.Fprintf(w, "exported to %s\n", result.Path) })
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`PATH` of a .tar or a directory, or - for stdout")
	a.jsonFlag(cmd)
	return cmd
}
