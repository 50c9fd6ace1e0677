package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/text"
	"github.com/spf13/cobra"
)

func newTaskStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "status ID",
		Short:             "Show a task's record",
		Example:           "  pyro task status \"$id\"",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			task, err := with(a, func(p *pyro.Pyro) (pyro.Task, error) {
				task, err := p.StatusTask(cmd.Context(), pyro.TaskRequest{TaskID: args[0]})
				return task, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			return a.print(task, func(w io.Writer) { writeTask(w, task) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func writeTask(w io.Writer, t pyro.Task) {
	created := t.CreatedAt
	rows := [][]string{
		{"task", t.TaskID},
		{"environment", t.Environment},
		{"state", t.State},
		{"runs as", fmt.Sprintf("%s (%s), %d vCPU, %d MiB",
			t.ExecutionMode, cmp.Or(t.Accelerator, t.Isolation), t.VCPUCount, t.MemMiB)},
		{"created", moment(&created)},
		{"expires", moment(t.ExpiresAt)},
		{"network", yesNo(t.NetworkEnabled)},
		{"workspace", fmt.Sprintf("%s, seeded: %s", t.WorkspacePath, seed(t.WorkspaceSeed))},
		{"commands", strconv.Itoa(t.CommandCount)},
	}
	if t.Name != "" {
		rows = slices.Insert(rows, 1, []string{"name", t.Name})
	}
	if t.LastCommand != nil {
		rows = append(rows, []string{"last command",
			fmt.Sprintf("%s (exit status %d)", oneLine(t.LastCommand.Command), t.LastCommand.ExitCode)})
	}
	rows = append(rows, []string{"last error", orNone(t.LastError)})
	for _, key := range slices.Sorted(maps.Keys(t.Metadata)) {
		rows = append(rows, []string{"metadata " + oneLine(key), oneLine(t.Metadata[key])})
	}
	table(w, rows...)
}

func seed(s pyro.WorkspaceSeed) string {
	if s.SourcePath == nil {
		return s.Mode
	}
	return fmt.Sprintf("%s, %s, entries: %d, %s", s.Mode, *s.SourcePath, s.EntryCount, size(s.BytesWritten))
}

// knownTask adds the nearest known task to an error about an unknown one.
func knownTask(ctx context.Context, p *pyro.Pyro, id string, err error) error {
	if err == nil || !errors.Is(err, pyro.ErrNotFound) {
		return err
	}
	list, errList := p.ListVMs(ctx)
	if errList != nil {
		return err
	}
	var ids []string
	for _, t := range list.Tasks {
		ids = append(ids, t.TaskID)
		if t.Name != "" {
			ids = append(ids, t.Name)
		}
	}
	if near := text.Nearest(id, ids); near != "" && near != id {
		return &pyro.Error{Kind: pyro.ErrNotFound, Message: err.Error(),
			Hint: fmt.Sprintf("did you mean %q?", near)}
	}
	return err
}
