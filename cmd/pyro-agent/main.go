// Pyro-agent is the first process of a guest.
package main

import "github.com/pyro-mcp/pyro/internal/agent"

func main() { agent.Main() }
