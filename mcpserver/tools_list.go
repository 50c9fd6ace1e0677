package mcpserver

import (
	"fmt"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
)

// listTools are the tools that find tasks.
func listTools() []tool {
	return []tool{
		{
			name:      "task_list",
			title:     "List tasks",
			operation: "list_tasks",
			description: "List all tasks: id, name, state, age, what runs in each. With labels: " +
				"those whose metadata has them.",
			profiles: []Profile{ProfileTask},
			text:     wording(tasksText),
		},
	}
}

// tasksText words a list of tasks, one on a line.
func tasksText(list pyro.ListTasksResult) string {
	if len(list.Tasks) == 0 {
		return "there are no tasks"
	}
	var b strings.Builder
	for _, t := range list.Tasks {
		b.WriteString(t.TaskID)
		if t.Name != "" {
			fmt.Fprintf(&b, " (%s)", t.Name)
		}
		fmt.Fprintf(&b, ": %s, %s, %d s old", t.Environment, t.State, int(time.Since(t.CreatedAt).Seconds()))
		for _, c := range t.Running {
			command, _ := cutMiddle(c.Command, listLimit, "of the command")
			fmt.Fprintf(&b, "; runs %q", command)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
