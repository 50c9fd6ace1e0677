package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskCreate(a *app) *cobra.Command {
	var shape shapeFlags
	var settings settingsFlags
	var seed seedFlags
	var publish, labels []string
	var name string
	cmd := &cobra.Command{
		Use:   "create ENVIRONMENT",
		Short: "Create and start a task, and print its id",
		Example: `  pyro task create debian:12
  pyro task create debian:12-build --source-path ./project --ttl-seconds 3600
  pyro task create debian:12 --publish 8080:80
  pyro task create debian:12 --name review --label project=site`,
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
			metadata, err := labelled(labels)
			if err != nil {
				return err
			}
			request := pyro.CreateTaskRequest{
				Shape:   shape.shape(args[0]),
				Name:    name,
				Publish: publish,

				CommandSettings: own,
				SourcePath:      source,
				Strict:          seed.strict,
				Exclude:         seed.exclude,
				IncludeIgnored:  seed.includeIgnored,
			}
			request.Metadata = metadata
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
	cmd.Flags().StringArrayVarP(&publish, "publish", "p", nil,
		"open a port of the guest's on the host, as `[IP:]PORT:GUEST_PORT`, at 127.0.0.1 unless an IP is "+
			"given; it opens nothing outwards (repeatable)")
	granted(cmd, "detach", "d")
	cmd.Flags().StringVar(&name, "name", "", "a `NAME` for it, usable wherever its id is")
	labelFlag(cmd, &labels, "keep `KEY=VALUE` with it, for task list --label (repeatable)")
	a.jsonFlag(cmd)
	return cmd
}

func labelFlag(cmd *cobra.Command, labels *[]string, usage string) {
	cmd.Flags().StringArrayVar(labels, "label", nil, usage)
}

// labelled reads labels.
func labelled(labels []string) (map[string]string, error) {
	out := map[string]string{}
	for _, label := range labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok || key == "" {
			return nil, usagef("--label is %q, not KEY=VALUE", label)
		}
		out[key] = value
	}
	return out, nil
}
