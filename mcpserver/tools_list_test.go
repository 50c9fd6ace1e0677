package mcpserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
)

// A model that has lost a task's id finds it, and may call the task by its name.
func TestTaskList(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "vms", "task-0123456789ab")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	record := `{"format": 1, "id": "task-0123456789ab", "kind": "task", "name": "review", "state": "stopped",
		"complete": true, "environment": "debian:12", "metadata": {"project": "site"}}`
	if err := os.WriteFile(filepath.Join(dir, "vm.json"), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := pyro.New(pyro.WithStateDir(state), pyro.WithCacheDir(t.TempDir()),
		pyro.WithCommand("/nonexistent/pyro"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	session := connect(t, CreateServer(p))
	call := func(name string, arguments map[string]any) string {
		t.Helper()
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
		if err != nil || result.IsError {
			t.Fatalf("%s %v: %v, %v", name, arguments, result, err)
		}
		return result.Content[0].(*mcp.TextContent).Text
	}
	want := "task-0123456789ab (review): debian:12, stopped, "
	if text := call("task_list", nil); !strings.HasPrefix(text, want) {
		t.Errorf("got %q, want %q", text, want)
	}
	none := map[string]any{"labels": map[string]any{"project": "other"}}
	if text := call("task_list", none); text != "there are no tasks" {
		t.Errorf("got %q", text)
	}
	text := call("task_status", map[string]any{"task_id": "review"})
	if !strings.Contains(text, "0123456789ab") {
		t.Errorf("got %q", text)
	}
}
