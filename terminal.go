package pyro

import (
	"context"

	"github.com/pyro-mcp/pyro/internal/link"
)

// link gives a terminal as it crosses the link; none stays none.
func (t *Terminal) link() *link.Terminal {
	if t == nil {
		return nil
	}
	return &link.Terminal{Size: link.Size(t.TerminalSize), Type: t.Type, Locale: t.Locale}
}

// link gives a command's streams as the link has them. Its work ends with ctx.
func (s Streams) link(ctx context.Context) link.Streams {
	out := link.Streams{
		Stdin:  s.Stdin,
		Lazy:   s.LazyStdin,
		Stdout: s.Stdout,
		Stderr: s.Stderr,
	}
	if s.Sizes == nil {
		return out
	}
	sizes := make(chan link.Size)
	out.Sizes = sizes
	go func() {
		for {
			select {
			case size, ok := <-s.Sizes:
				if !ok {
					return
				}
				select {
				case sizes <- link.Size(size):
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
