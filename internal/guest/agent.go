package guest

import (
	"embed"
	"errors"
	"io/fs"
	"strings"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/link"
)

//go:embed agent
var agentFiles embed.FS

// agent is the program that runs in the guest, with the digest that the build took of it: reading all of it
// at each start would keep 3 MB in the memory of every supervisor.
func agent() (environment.Agent, error) {
	const program = "agent/pyro-agent"
	sum, err := agentFiles.ReadFile(program + ".sha256")
	if errors.Is(err, fs.ErrNotExist) {
		return environment.Agent{}, &link.Error{
			Code:    link.CodeUnavailable,
			Cause:   link.CauseNoAgent,
			Message: "this pyro was built without its guest agent",
		}
	}
	digest, _, _ := strings.Cut(string(sum), " ")
	return environment.Agent{SHA256: digest, Open: func() ([]byte, error) {
		return agentFiles.ReadFile(program)
	}}, err
}
