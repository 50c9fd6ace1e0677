package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskSnapshot(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "snapshot ID",
		Short: "Keep a task as it is at this moment: processes, memory and disk",
		Long: `Keep a task as it is at this moment, with its processes and their memory. The task stands still
for a moment and goes on. Prints the snapshot's id: tasks can be forked from it, and this one can be
rolled back to it.

A snapshot has what the task's memory has, secrets of its programs included.`,
		Example: `  pyro task snapshot "$id" --name prepared
  pyro task fork prepared -n 10`,
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := with(a, func(p *pyro.Pyro) (pyro.Snapshot, error) {
				s, err := p.SnapshotTask(cmd.Context(), pyro.SnapshotTaskRequest{TaskID: args[0], Name: name})
				return s, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			if s.WithoutMemory != "" {
				a.remark("pyro: the disk alone was kept: %s", s.WithoutMemory)
			}
			return a.print(s, func(w io.Writer) { fmt.Fprintln(w, s.SnapshotID) })
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "a `NAME` for the snapshot, beside its id")
	a.jsonFlag(cmd)
	return cmd
}

func newTaskFork(a *app) *cobra.Command {
	count, ttl := number{value: 1, least: 1}, number{}
	cmd := &cobra.Command{
		Use:   "fork ID|SNAPSHOT",
		Short: "Make tasks that go on from where a task is, or from a snapshot",
		Long: `Make tasks that go on from where a task is at this moment, or was when a snapshot was taken: its
processes run on in each of them. Before anything runs in a fork it is a machine of its own, with a
name, randomness, clock and network of its own. Connections over the network are gone in it, and
/run/pyro/generation is another. Prints the forks' ids, one a line.`,
		Example: `  pyro task fork "$id"
  pyro task fork prepared -n 20`,
		Args:              exactly("ID|SNAPSHOT"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := pyro.ForkTaskRequest{Count: count.value}
			if strings.HasPrefix(args[0], "task-") {
				r.TaskID = args[0]
			} else {
				r.Snapshot = args[0]
			}
			if cmd.Flags().Changed("ttl-seconds") {
				r.TTLSeconds = &ttl.value
			}
			result, err := with(a, func(p *pyro.Pyro) (pyro.ForkTaskResult, error) {
				result, err := p.ForkTask(cmd.Context(), r)
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			for _, t := range result.Tasks {
				a.warn(t.Warnings)
			}
			return a.print(result, func(w io.Writer) {
				for _, t := range result.Tasks {
					fmt.Fprintln(w, t.TaskID)
				}
			})
		},
	}
	cmd.Flags().VarP(&count, "count", "n", "how many forks to make")
	cmd.Flags().Var(&ttl, "ttl-seconds", "seconds until each fork is removed, 0 for never")
	a.jsonFlag(cmd)
	return cmd
}

func newTaskRollback(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback ID [SNAPSHOT]",
		Short: "Have a task go on from a snapshot; what it did since is lost",
		Long: `Have a task go on from a snapshot: the newest one of the task unless another is named. What it did
since is lost. Commands that run now end; those that ran when the snapshot was taken go on.`,
		Example: `  pyro task rollback "$id"
  pyro task rollback "$id" prepared`,
		Args:              oneOrTwo("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := pyro.RollbackTaskRequest{TaskID: args[0]}
			if len(args) > 1 {
				r.Snapshot = args[1]
			}
			result, err := with(a, func(p *pyro.Pyro) (pyro.RollbackTaskResult, error) {
				result, err := p.RollbackTask(cmd.Context(), r)
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			a.warn(result.Warnings)
			return a.print(result, func(w io.Writer) {
				fmt.Fprintf(w, "rolled %s back to %s\n", result.TaskID, result.SnapshotID)
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
