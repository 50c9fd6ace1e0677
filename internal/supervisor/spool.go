package supervisor

import (
	"io"
	"os"
	"path/filepath"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
	"golang.org/x/sys/unix"
)

// spool is the end of a guest's disk, in the hands of one import.
type spool struct {
	io.WriterAt
	disk *os.File
	from int64
	done func()
}

// openSpool gives the spool of a guest, nil where it has none or another import uses it.
func (s *supervisor) openSpool(g *guest) (*spool, error) {
	if g.mode != "guest" || !g.spool.TryLock() {
		return nil, nil
	}
	disk, err := os.OpenFile(filepath.Join(s.dir, record.ScratchFile), os.O_WRONLY, 0)
	if err != nil {
		g.spool.Unlock()
		return nil, err
	}
	from := int64(s.snapshot().DiskMiB) << 20
	return &spool{io.NewOffsetWriter(disk, from), disk, from, g.spool.Unlock}, nil
}

// close leaves nothing of what went through.
func (s *spool) close() {
	unix.Fallocate(int(s.disk.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.from, link.SpoolSize)
	s.disk.Close()
	s.done()
}
