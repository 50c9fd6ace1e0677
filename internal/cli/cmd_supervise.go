package cli

import "github.com/pyro-mcp/pyro/internal/supervisor"

// supervise enters the supervisor. It comes before all else, so that a VM pays for no command line.
func supervise(args []string) int { return supervisor.Main(args) }
