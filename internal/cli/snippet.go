package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
)

// The forms in which clients are told of a server. All of them quote the path, whatever is in it.

// document writes a client's JSON, keys sorted, ready to be merged.
func document(content any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(content); err != nil {
		return "" // Maps of texts and numbers can be written.
	}
	return b.String()
}

// quoted writes a text as JSON does, which TOML's and YAML's double quotes read as well.
func quoted(text string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return `""`
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

// list writes texts as a list of JSON, TOML or YAML.
func list(words []string) string {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, word := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoted(word))
	}
	b.WriteByte(']')
	return b.String()
}

// serversJSON is the form of most: servers by name below a key, with more fields if a client has some.
func serversJSON(key string, more map[string]any) func(argv []string) string {
	return func(argv []string) string {
		server := map[string]any{"command": argv[0], "args": argv[1:]}
		maps.Copy(server, more)
		return document(map[string]any{key: map[string]any{"pyro": server}})
	}
}

// opencodeJSON is OpenCode's, which gives up a call after 30 s.
func opencodeJSON(argv []string) string {
	return document(map[string]any{"mcp": map[string]any{"pyro": map[string]any{
		"type":    "local",
		"command": argv,
		"enabled": true,
		"timeout": callLimit * 1000,
	}}})
}

// zedJSON is Zed's, which gives up a call after 60 s: that limit is of all servers.
func zedJSON(argv []string) string {
	return document(map[string]any{
		"context_server_timeout": callLimit,
		"context_servers": map[string]any{"pyro": map[string]any{
			"command": argv[0],
			"args":    argv[1:],
			"env":     map[string]string{},
		}},
	})
}

// codexTOML is Codex's, which gives up a call after 60 s.
func codexTOML(argv []string) string {
	return fmt.Sprintf("[mcp_servers.pyro]\ncommand = %s\nargs = %s\ntool_timeout_sec = %d\n",
		quoted(argv[0]), list(argv[1:]), callLimit)
}

// gooseYAML is Goose's.
func gooseYAML(argv []string) string {
	return fmt.Sprintf("extensions:\n  pyro:\n    enabled: true\n    type: stdio\n    name: pyro\n"+
		"    description: Runs commands in throw-away microVMs\n    cmd: %s\n    args: %s\n    envs: {}\n"+
		"    timeout: %d\n", quoted(argv[0]), list(argv[1:]), callLimit)
}
