package hostcompat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// pack sends the workspace as unpack takes it, while commands go on. What is of no use without the processes
// behind it, sockets and pipes, stays behind, and so does what cannot be read; both are told.
func (m *machine) pack(ctx context.Context, stream *wire.Stream) (any, error) {
	out := link.Writer(stream, link.KindData)
	sum, err := archive.Pack(ctx, out, m.own.Workspace, archive.PackOptions{
		Lenient: true,
		Links:   archive.LinksAny,
	})
	if err != nil {
		return nil, &link.Error{
			Code:    link.CodeState,
			Message: fmt.Sprintf("the files in %s cannot be kept: %v", workspacePath, err),
		}
	}
	saved := link.Saved{LeftOutCount: sum.Left.Count}
	for _, left := range sum.Left.Names {
		saved.LeftOut = append(saved.LeftOut, fmt.Sprintf("%s (%s)", left.Path, left.Reason))
	}
	return saved, nil
}

// Refill asks for the workspace to be filled with what a Save has sent.
func Refill() link.Import {
	return link.Import{Destination: workspacePath, Links: int(archive.LinksAny)}
}

// Clear removes what commands have written in a VM's directory, so that it can be filled anew. Nobody may run
// there.
func Clear(dir string) error {
	for _, d := range ownDirs {
		if err := os.RemoveAll(filepath.Join(dir, d.name)); err != nil {
			return fmt.Errorf("cannot clear the %s of commands on the host: %w", d.name, err)
		}
	}
	return nil
}
