package cli

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestSnippetsQuotePaths finds the command again in what each client is given, whatever the path holds.
func TestSnippetsQuotePaths(t *testing.T) {
	argv := []string{`/home/a b/it's "the" $HOME \ ünï & co/pyro`, "mcp", "serve", "--profile", "core"}
	for _, c := range mcpClients() {
		text := c.snippet(argv)
		var got []string
		switch {
		case strings.HasPrefix(text, "claude mcp add pyro -- "):
			line := "printf '%s\\n' " + strings.TrimPrefix(text, "claude mcp add pyro -- ")
			out, err := exec.Command("sh", "-c", line).Output()
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			got = strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		case strings.HasPrefix(text, "{"):
			got = commandIn(t, text)
		default: // TOML and YAML, whose values here are JSON's
			for _, line := range strings.Split(text, "\n") {
				line = strings.TrimSpace(line)
				for _, key := range []string{"command = ", "cmd: "} {
					if value, ok := strings.CutPrefix(line, key); ok {
						got = append([]string{unquoted[string](t, value)}, got...)
					}
				}
				for _, key := range []string{"args = ", "args: "} {
					if value, ok := strings.CutPrefix(line, key); ok {
						got = append(got, unquoted[[]string](t, value)...)
					}
				}
			}
		}
		if !slices.Equal(got, argv) {
			t.Errorf("%s starts %q, not %q:\n%s", c.name, got, argv, text)
		}
	}
}

// commandIn finds the one server in a JSON document, and what it starts.
func commandIn(t *testing.T, text string) []string {
	t.Helper()
	for _, below := range unquoted[map[string]json.RawMessage](t, text) {
		var servers struct{ Pyro json.RawMessage }
		if json.Unmarshal(below, &servers) != nil {
			continue // a number beside the servers
		}
		var whole struct{ Command []string }
		if json.Unmarshal(servers.Pyro, &whole) == nil {
			return whole.Command
		}
		var parts struct {
			Command string
			Args    []string
		}
		if err := json.Unmarshal(servers.Pyro, &parts); err != nil {
			t.Fatal(err)
		}
		return append([]string{parts.Command}, parts.Args...)
	}
	return nil
}

func unquoted[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}
