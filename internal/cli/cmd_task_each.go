package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

// each is a command that does one thing to each of some tasks.
type each[T any] struct {
	use, short, long string
	example          string
	aliases          []string
	done             string // what was done, as a person reads it
	flags            func(*cobra.Command)
	do               func(context.Context, *pyro.Pyro, string) (T, error)
}

// command makes the command. Of several tasks it goes on to the next if one fails.
func (e each[T]) command(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     e.use + " ID...",
		Short:   e.short,
		Long:    e.long,
		Example: e.example,
		Aliases: e.aliases,
		Args: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				if all {
					return usagef("%s: ids and --all exclude each other", cmd.CommandPath())
				}
				return usagef("%s: ID is missing", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: a.completeTasks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.engine()
			if err != nil {
				return err
			}
			defer p.Close()
			if all {
				if args, err = taskIDs(cmd.Context(), p); err != nil {
					return err
				}
			}
			return e.run(cmd.Context(), a, p, args, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all tasks")
	if e.flags != nil {
		e.flags(cmd)
	}
	a.jsonFlag(cmd)
	return cmd
}

func (e each[T]) run(ctx context.Context, a *app, p *pyro.Pyro, ids []string, all bool) error {
	results := []T{}
	var failed []error
	for _, id := range ids {
		result, err := e.do(ctx, p, id)
		if err != nil {
			failed = append(failed, knownTask(ctx, p, id, err))
			continue
		}
		results = append(results, result)
		if !a.json {
			fmt.Fprintln(a.stdout, e.done, id)
		}
	}
	if a.json && len(failed) == 0 {
		var printed any = map[string]any{"results": results}
		if len(ids) == 1 && !all {
			printed = results[0]
		}
		if err := a.print(printed, func(io.Writer) {}); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func taskIDs(ctx context.Context, p *pyro.Pyro) ([]string, error) {
	list, err := p.ListVMs(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list.Tasks))
	for i, t := range list.Tasks {
		ids[i] = t.TaskID
	}
	return ids, nil
}

func newTaskDelete(a *app) *cobra.Command {
	return each[pyro.DeleteResult]{
		use:     "delete",
		short:   "End tasks and remove all that they kept",
		aliases: []string{"rm"},
		example: "  pyro task delete \"$id\"\n  pyro task delete --all",
		done:    "deleted",
		do: func(ctx context.Context, p *pyro.Pyro, id string) (pyro.DeleteResult, error) {
			return p.DeleteTask(ctx, pyro.TaskRequest{TaskID: id})
		},
	}.command(a)
}

func newTaskStop(a *app) *cobra.Command {
	return each[pyro.Task]{
		use:     "stop",
		short:   "End tasks' guests and keep their files; the next command starts them again",
		example: "  pyro task stop \"$id\"",
		done:    "stopped",
		do: func(ctx context.Context, p *pyro.Pyro, id string) (pyro.Task, error) {
			return p.StopTask(ctx, pyro.TaskRequest{TaskID: id})
		},
	}.command(a)
}

func newTaskStart(a *app) *cobra.Command {
	return each[pyro.Task]{
		use:     "start",
		short:   "Start stopped tasks",
		example: "  pyro task start \"$id\"",
		done:    "started",
		do: func(ctx context.Context, p *pyro.Pyro, id string) (pyro.Task, error) {
			return p.StartTask(ctx, pyro.TaskRequest{TaskID: id})
		},
	}.command(a)
}

func newTaskExtend(a *app) *cobra.Command {
	ttl := duration{value: -1, least: 0}
	return each[pyro.Task]{
		use:   "extend",
		short: "Begin the idle TTL of tasks anew",
		long: `Begins the idle TTL of tasks anew, with another length if one is given. Each command does so by
itself when it ends; a command under way is never cut short.`,
		example: "  pyro task extend \"$id\"\n  pyro task extend \"$id\" --ttl-seconds 2h",
		done:    "extended",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().Var(&ttl, "ttl-seconds",
				"the idle TTL from now on: seconds, or 10m, 2h; 0 is no limit (default: as it was)")
		},
		do: func(ctx context.Context, p *pyro.Pyro, id string) (pyro.Task, error) {
			r := pyro.ExtendTaskRequest{TaskID: id}
			if ttl.value >= 0 {
				r.TTLSeconds = &ttl.value
			}
			return p.ExtendTask(ctx, r)
		},
	}.command(a)
}

func newTaskPause(a *app) *cobra.Command {
	return each[pyro.Task]{
		use:   "pause",
		short: "Keep tasks on disk, with their memory, until they are resumed",
		long: `A paused task takes none of the host's memory. It goes on where it was at 'pyro task resume', or by
itself at its next command.`,
		example: "  pyro task pause \"$id\"",
		done:    "paused",
		do: func(ctx context.Context, p *pyro.Pyro, id string) (pyro.Task, error) {
			return p.PauseTask(ctx, pyro.TaskRequest{TaskID: id})
		},
	}.command(a)
}

func newTaskResume(a *app) *cobra.Command {
	return each[pyro.Task]{
		use:     "resume",
		short:   "Have paused tasks go on where they were, and stopped ones start",
		example: "  pyro task resume \"$id\"",
		done:    "resumed",
		do: func(ctx context.Context, p *pyro.Pyro, id string) (pyro.Task, error) {
			task, err := p.ResumeTask(ctx, pyro.TaskRequest{TaskID: id})
			if err == nil {
				a.warn(task.Warnings)
			}
			return task, err
		},
	}.command(a)
}
