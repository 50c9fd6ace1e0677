package guest

import (
	"context"
	"encoding/json"
	"io"
	"os"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// Pass hands an operation on to the guest as it is, and gives its result.
func (g *Guest) Pass(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	reply, err := g.Forward(ctx, req, stream, nil)
	if err != nil {
		return nil, g.Lost(err)
	}
	if reply.Error != nil {
		return nil, reply.Error
	}
	return json.RawMessage(reply.Result), nil
}

// Import hands a tree on to the guest, through the spool if its disk has one that is free.
func (g *Guest) Import(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	spool, err := g.openSpool()
	if err != nil {
		return nil, err
	}
	if spool == nil {
		return g.Pass(ctx, req, stream)
	}
	defer spool.close()
	i, err := link.Decode[link.Import](req)
	if err != nil {
		return nil, err
	}
	result, err := g.client.ImportSpooled(ctx, i, stream, spool)
	if err != nil {
		return nil, g.Lost(err)
	}
	return result, nil
}

// spool is the end of a guest's disk, in the hands of one import.
type spool struct {
	io.WriterAt
	disk *os.File
	from int64
	done func()
}

// openSpool gives the spool of a guest, nil if it has none or another import uses it.
func (g *Guest) openSpool() (*spool, error) {
	if g.scratch == "" || !g.spool.TryLock() {
		return nil, nil
	}
	disk, err := os.OpenFile(g.scratch, os.O_WRONLY, 0)
	if err != nil {
		g.spool.Unlock()
		return nil, err
	}
	return &spool{io.NewOffsetWriter(disk, g.spoolAt), disk, g.spoolAt, g.spool.Unlock}, nil
}

// close leaves nothing of what went through.
func (s *spool) close() {
	unix.Fallocate(int(s.disk.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.from,
		link.SpoolSize)
	s.disk.Close()
	s.done()
}
