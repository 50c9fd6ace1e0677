package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/pyro-mcp/pyro/internal/text"
	"github.com/spf13/cobra"
)

// clients are the MCP clients whose configuration we can print. The verbs are replaced by the path of pyro.
var clients = []struct{ name, where, snippet string }{
	{"claude-code", "run this, or put this into .mcp.json of your project: " +
		`{"mcpServers": {"pyro": {"command": "PYRO", "args": ["mcp", "serve"]}}}`,
		"claude mcp add pyro -- QUOTED mcp serve\n"},
	{"claude-desktop", "merge this into claude_desktop_config.json (Settings, Developer, Edit Config)",
		"{\n  \"mcpServers\": {\n    \"pyro\": {\n      \"command\": \"PYRO\",\n" +
			"      \"args\": [\"mcp\", \"serve\"]\n    }\n  }\n}\n"},
	{"cursor", "merge this into ~/.cursor/mcp.json, or .cursor/mcp.json of your project",
		"{\n  \"mcpServers\": {\n    \"pyro\": {\n      \"command\": \"PYRO\",\n" +
			"      \"args\": [\"mcp\", \"serve\"]\n    }\n  }\n}\n"},
	{"vscode", "merge this into .vscode/mcp.json of your project",
		"{\n  \"servers\": {\n    \"pyro\": {\n      \"type\": \"stdio\",\n      \"command\": \"PYRO\",\n" +
			"      \"args\": [\"mcp\", \"serve\"]\n    }\n  }\n}\n"},
	{"codex", "add this to ~/.codex/config.toml",
		"[mcp_servers.pyro]\ncommand = \"PYRO\"\nargs = [\"mcp\", \"serve\"]\n"},
}

func clientNames() []string {
	var names []string
	for _, c := range clients {
		names = append(names, c.name)
	}
	return names
}

func newMCPConfig(a *app) *cobra.Command {
	return &cobra.Command{
		Use:       "config " + strings.Join(clientNames(), "|"),
		Short:     "Print the snippet that adds pyro to an MCP client",
		Example:   "  pyro mcp config claude-code\n  pyro mcp config codex >> ~/.codex/config.toml",
		Args:      exactly("CLIENT"),
		ValidArgs: clientNames(),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, c := range clients {
				if c.name == args[0] {
					a.remark("# %s: %s", c.name, fill(c.where))
					fmt.Fprint(a.stdout, fill(c.snippet))
					return nil
				}
			}
			err := &usageError{message: fmt.Sprintf("unknown client %q: want one of %s", args[0],
				strings.Join(clientNames(), ", "))}
			if near := text.Nearest(args[0], clientNames()); near != "" {
				err.hint = fmt.Sprintf("did you mean %s?", near)
			}
			return err
		},
	}
}

// fill puts the path of this program into a snippet: in quotes if a shell would take a space for its end.
func fill(snippet string) string {
	path := executable()
	quoted := path
	if strings.ContainsAny(path, " \t'$&;()<>|*?[]#~!`") {
		quoted = "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return strings.ReplaceAll(strings.ReplaceAll(snippet, "QUOTED", quoted), "PYRO", path)
}

// executable is the path by which a client finds this program, whatever its PATH.
func executable() string {
	path, err := os.Executable()
	if err != nil || strings.ContainsAny(path, "\"\\\n") {
		return "pyro"
	}
	return path
}
