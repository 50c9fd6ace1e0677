package cli

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskDiff(a *app) *cobra.Command {
	var r pyro.DiffTaskRequest
	cmd := &cobra.Command{
		Use:   "diff ID",
		Short: "Show what a task changed in its workspace since it was seeded",
		Long: `Shows what a task changed in its workspace since it was seeded, or since the last 'pyro task sync':
A is new, M has changed, D is gone. With --patch it is a patch that 'git apply' takes in the
directory that was the seed. What is in .git is never shown.`,
		Example: "  pyro task diff \"$id\"\n" +
			"  pyro task diff \"$id\" --patch | git apply",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.TaskID = args[0]
			result, err := with(a, func(p *pyro.Pyro) (pyro.DiffTaskResult, error) {
				result, err := p.DiffTask(cmd.Context(), r)
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			if n := len(result.LeftOut); n > 0 {
				a.remark("left out of the patch: %s", some(result.LeftOut, int64(n)))
			}
			return a.print(result, func(w io.Writer) {
				if r.Patch {
					fmt.Fprint(w, result.Patch)
					return
				}
				letters := map[string]string{"added": "A", "modified": "M", "removed": "D"}
				for _, c := range result.Changes {
					fmt.Fprintln(w, letters[c.Change], oneLine(c.Path))
				}
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&r.Patch, "patch", false, "print a patch in place of names")
	flags.StringArrayVar(&r.Exclude, "exclude", nil,
		"do not show what fits `PATTERN`, as in .gitignore (repeatable)")
	flags.BoolVar(&r.IncludeIgnored, "include-ignored", false,
		"show new files that a .gitignore ignores, too")
	a.jsonFlag(cmd)
	return cmd
}

func newTaskSync(a *app) *cobra.Command {
	var r pyro.SyncTaskRequest
	cmd := &cobra.Command{
		Use:   "sync ID",
		Short: "Send into a task what changed in the directory that it was seeded from",
		Long: `Sends into a task what changed in the directory that it was seeded from, since then or since the
last sync, and removes there what is gone. A file that the task changed as well stays as the task
has it and is named, unless --force is given. What is in .git stays as it is.`,
		Example:           "  pyro task sync \"$id\" && pyro task exec \"$id\" -- make test",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.TaskID = args[0]
			result, err := with(a, func(p *pyro.Pyro) (pyro.SyncTaskResult, error) {
				return withEnvironment(a, func(show func(pyro.PullProgress)) (pyro.SyncTaskResult, error) {
					r.Progress = show
					result, err := p.SyncTask(cmd.Context(), r)
					return result, knownTask(cmd.Context(), p, args[0], err)
				})
			})
			if err != nil {
				return err
			}
			if n := len(result.Conflicts); n > 0 {
				a.remark("left as the task has them, since it changed them as well: %s "+
					"(--force replaces them)", some(result.Conflicts, int64(n)))
			}
			return a.print(result, func(w io.Writer) {
				fmt.Fprintf(w, "sent %d, removed %d\n", len(result.Written), len(result.Removed))
			})
		},
	}
	cmd.Flags().BoolVar(&r.Force, "force", false, "replace files that the task changed as well")
	a.jsonFlag(cmd)
	return cmd
}
