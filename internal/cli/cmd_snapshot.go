package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newSnapshot(a *app) *cobra.Command {
	return parent("snapshot", "List and delete snapshots of tasks",
		"A snapshot is a task as it was at one moment, with its processes: see 'pyro task snapshot'.",
		`  pyro snapshot list
  pyro snapshot inspect prepared
  pyro snapshot delete prepared`,
		newSnapshotList(a), newSnapshotInspect(a), newSnapshotDelete(a))
}

func newSnapshotList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls"},
		Short:             "List the snapshots, with what they take on disk",
		Example:           "  pyro snapshot list",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.ListSnapshotsResult, error) {
				return p.ListSnapshots(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				rows := [][]string{{"ID", "NAME", "TASK", "ENVIRONMENT", "CREATED", "KEEPS", "OWN", "SHARED",
					"FORKS"}}
				for _, s := range result.Snapshots {
					rows = append(rows, []string{s.SnapshotID, s.Name, s.TaskID, s.Environment,
						moment(&s.CreatedAt), keeps(s), size(s.Bytes), size(s.SharedBytes),
						strconv.Itoa(len(s.Forks))})
				}
				table(w, rows...)
				if result.LimitBytes > 0 {
					fmt.Fprintf(w, "\n%s of %s\n", size(result.TotalBytes), size(result.LimitBytes))
				}
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// keeps says what a snapshot has of its task.
func keeps(s pyro.Snapshot) string {
	if s.Memory {
		return "memory, disk"
	}
	return "disk"
}

func newSnapshotInspect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "inspect SNAPSHOT",
		Short:             "Show what a snapshot is of, and what it takes",
		Example:           "  pyro snapshot inspect prepared",
		Args:              exactly("SNAPSHOT"),
		ValidArgsFunction: a.completeSnapshot(),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := with(a, func(p *pyro.Pyro) (pyro.Snapshot, error) {
				return p.InspectSnapshot(cmd.Context(), pyro.SnapshotRequest{Snapshot: args[0]})
			})
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) { writeSnapshot(w, s) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func writeSnapshot(w io.Writer, s pyro.Snapshot) {
	name := s.Name
	rows := [][]string{
		{"snapshot", s.SnapshotID},
		{"name", orNone(&name)},
		{"task", s.TaskID},
		{"environment", s.Environment},
		{"created", moment(&s.CreatedAt)},
		{"keeps", keeps(s)},
		{"pause", fmt.Sprintf("%d ms", s.PauseMS)},
		{"memory", fmt.Sprintf("%s of its own, %s shared", size(s.MemoryBytes), size(s.SharedBytes))},
		{"disk", size(s.DiskBytes)},
	}
	if s.WithoutMemory != "" {
		rows = append(rows, []string{"without memory", s.WithoutMemory})
	}
	if len(s.Forks) > 0 {
		rows = append(rows, []string{"forks", strings.Join(s.Forks, " ")})
	}
	if len(s.Commands) > 0 {
		rows = append(rows, []string{"running", oneLine(strings.Join(s.Commands, "; "))})
	}
	table(w, rows...)
}

func newSnapshotDelete(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "delete SNAPSHOT",
		Aliases:           []string{"rm"},
		Short:             "Remove a snapshot; tasks that were made from it go on",
		Example:           "  pyro snapshot delete prepared",
		Args:              exactly("SNAPSHOT"),
		ValidArgsFunction: a.completeSnapshot(),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.DeleteSnapshotResult, error) {
				return p.DeleteSnapshot(cmd.Context(), pyro.SnapshotRequest{Snapshot: args[0]})
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				fmt.Fprintf(w, "deleted %s, freed %s\n", result.SnapshotID, size(result.FreedBytes))
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
