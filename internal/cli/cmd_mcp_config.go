package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/pyro-mcp/pyro/internal/text"
	"github.com/pyro-mcp/pyro/mcpserver"
	"github.com/spf13/cobra"
)

// mcpClient is an MCP client whose configuration we can print.
type mcpClient struct {
	name, where string
	snippet     func(argv []string) string
}

// callLimit is how long a client is to wait for a tool, in seconds, if its own default is shorter than what
// commands in a VM take. A timeout of a command's own is shorter than this.
const callLimit = 600

// mcpClients are the clients, each with the form of its own. The profile is the smallest that does the job.
func mcpClients() []mcpClient {
	return []mcpClient{
		{"claude-code", "run this; or merge what claude-desktop gets into .mcp.json of your project",
			shellLine},
		{"claude-desktop", "merge this into claude_desktop_config.json (Settings, Developer, Edit Config)",
			serversJSON("mcpServers", nil)},
		{"cursor", "merge this into ~/.cursor/mcp.json, or .cursor/mcp.json of your project",
			serversJSON("mcpServers", nil)},
		{"vscode", "merge this into .vscode/mcp.json of your project",
			serversJSON("servers", map[string]any{"type": "stdio"})},
		{"codex", "add this to ~/.codex/config.toml", codexTOML},
		{"gemini", "merge this into ~/.gemini/settings.json, or .gemini/settings.json of your project",
			serversJSON("mcpServers", map[string]any{"timeout": callLimit * 1000})},
		{"opencode", "merge this into opencode.json of your project, or ~/.config/opencode/opencode.json",
			opencodeJSON},
		{"windsurf", "merge this into ~/.codeium/windsurf/mcp_config.json", serversJSON("mcpServers", nil)},
		{"zed", "merge this into ~/.config/zed/settings.json", zedJSON},
		{"goose", "merge this into ~/.config/goose/config.yaml", gooseYAML},
	}
}

func clientNames() []string {
	var names []string
	for _, c := range mcpClients() {
		names = append(names, c.name)
	}
	return names
}

func newMCPConfig(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "config " + strings.Join(clientNames(), "|"),
		Short: "Print the snippet that adds pyro to an MCP client",
		Long: `Prints what to put where, with the profile that is enough for most work and, if the client would
give up a call too early, a longer timeout. Where it goes is told on stderr.`,
		Example:   "  pyro mcp config claude-code\n  pyro mcp config codex >> ~/.codex/config.toml",
		Args:      exactly("CLIENT"),
		ValidArgs: clientNames(),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, c := range mcpClients() {
				if c.name == args[0] {
					a.remark("# %s: %s", c.name, c.where)
					fmt.Fprint(a.stdout, c.snippet(serveCommand()))
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

// serveCommand is the command that a client is to start.
func serveCommand() []string {
	return []string{executable(), "mcp", "serve", "--profile", string(mcpserver.ProfileCore)}
}

// executable is the path by which a client finds this program, whatever its PATH.
func executable() string {
	path, err := os.Executable()
	if err != nil {
		return "pyro"
	}
	return path
}

// shellLine is a command for Claude Code's own command line.
func shellLine(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = shellQuoted(word)
	}
	return "claude mcp add pyro -- " + strings.Join(words, " ") + "\n"
}

// shellQuoted puts a word into quotes if a shell would take it for something else.
func shellQuoted(word string) string {
	plain := strings.IndexFunc(word, func(r rune) bool {
		return !strings.ContainsRune("-_./+:@%=,", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') &&
			(r < 'a' || r > 'z')
	}) < 0
	if plain && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
