package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskCreate(a *app) *cobra.Command {
	var shape shapeFlags
	var settings settingsFlags
	var seed seedFlags
	var publish []string
	cmd := &cobra.Command{
		Use:   "create ENVIRONMENT",
		Short: "Create and start a task, and print its id",
		Example: `  pyro task create debian:12
  pyro task create debian:12-build --source-path ./project --ttl-seconds 3600
  pyro task create debian:12 --publish 8080:80`,
		Args:              exactly("ENVIRONMENT"),
		ValidArgsFunction: a.completeEnvironment(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			own, err := settings.settings()
			if err != nil {
				return err
			}
			source, err := seed.path()
			if err != nil {
				return err
			}
			request := pyro.CreateTaskRequest{
				Shape:   shape.shape(args[0]),
				Publish: publish,

				CommandSettings: own,
				SourcePath:      source,
				Strict:          seed.strict,
				Exclude:         seed.exclude,
				IncludeIgnored:  seed.includeIgnored,
			}
			task, err := with(a, func(p *pyro.Pyro) (pyro.Task, error) {
				return withEnvironment(a, func(show func(pyro.PullProgress)) (pyro.Task, error) {
					request.Progress = show
					return p.CreateTask(cmd.Context(), request)
				})
			})
			if err != nil {
				return err
			}
			a.confined(task.Confinement)
			a.warn(task.Warnings)
			a.seeded(task.WorkspaceSeed)
			if task.LastError != nil && *task.LastError != "" {
				a.remark("%s", oneLine(*task.LastError))
			}
			if task.TTLSeconds > 0 {
				a.remark("%s is removed when it is idle for %s (--ttl-seconds, pyro task extend)",
					task.TaskID,
					span(time.Duration(task.TTLSeconds)*time.Second))
			}
			return a.print(task, func(w io.Writer) { fmt.Fprintln(w, task.TaskID) })
		},
	}
	shape.add(cmd)
	settings.add(cmd)
	seed.add(cmd)
	cmd.Flags().StringArrayVar(&publish, "publish", nil,
		"open a port of the guest's on the host, as `[IP:]PORT:GUEST_PORT`, at 127.0.0.1 unless an IP is "+
			"given; it opens nothing outwards (repeatable)")
	a.jsonFlag(cmd)
	return cmd
}
