package cli

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskList(a *app) *cobra.Command {
	var all bool
	var labels []string
	cmd := &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls", "ps"},
		Short:             "List the tasks and VMs that there are",
		Example:           "  pyro task list\n  pyro task list --label project=site",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted, err := labelled(labels)
			if err != nil {
				return err
			}
			result, err := with(a, func(p *pyro.Pyro) (pyro.ListVMsResult, error) {
				if len(wanted) == 0 {
					return p.ListVMs(cmd.Context())
				}
				found, err := p.ListTasks(cmd.Context(), pyro.ListTasksRequest{Labels: wanted})
				return pyro.ListVMsResult{Tasks: found.Tasks, VMs: []pyro.VM{}, Spares: []pyro.VM{}}, err
			})
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) {
				rows := [][]string{{
					"ID", "NAME", "KIND", "ENVIRONMENT", "STATE", "AGE", "COMMANDS", "EXPIRES", "RUNS",
				}}
				for _, t := range result.Tasks {
					rows = append(rows, []string{t.TaskID, cmp.Or(t.Name, "-"), "task", t.Environment,
						t.State, age(t.CreatedAt), strconv.Itoa(t.CommandCount), moment(t.ExpiresAt),
						running(t.Running)})
				}
				vm := func(v pyro.VM, kind string) {
					rows = append(rows, []string{v.VMID, "-", kind, v.Environment, v.State, age(v.CreatedAt),
						"", moment(v.ExpiresAt), ""})
				}
				for _, v := range result.VMs {
					vm(v, "vm")
				}
				for _, v := range result.Spares {
					if all {
						vm(v, "spare")
					}
				}
				table(w, rows...)
			})
		},
	}
	labelFlag(cmd, &labels, "only tasks with the label `KEY=VALUE` (repeatable)")
	cmd.Flags().BoolVar(&all, "all", false, "also the spares that --keep-warm leaves for the next run")
	a.jsonFlag(cmd)
	return cmd
}

// shownCommand is how much of a command is shown where many are.
const shownCommand = 40

// running shows what runs in a task: the newest command, and how many more.
func running(all []pyro.RunningCommand) string {
	if len(all) == 0 {
		return ""
	}
	line := []rune(oneLine(all[len(all)-1].Command))
	if len(line) > shownCommand {
		line = append(line[:shownCommand-1], '…')
	}
	if more := len(all) - 1; more > 0 {
		return fmt.Sprintf("%s (and %d more)", string(line), more)
	}
	return string(line)
}

// age is how long ago something was made, in one unit.
func age(since time.Time) string {
	switch d := time.Since(since); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// newPS is task list by the name that a user of containers types.
func newPS(a *app) *cobra.Command {
	cmd := newTaskList(a)
	cmd.Use, cmd.Aliases, cmd.Example = "ps", nil, "  pyro ps"
	return cmd
}
