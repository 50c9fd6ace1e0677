package agent

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// spool is the end of the scratch disk, past its file system, where the host puts what is too much for the
// pipe. It is read past the page cache, which would keep what stood there before.
type spool struct {
	disk *os.File
	from int64
	slot []byte // a direct read wants whole blocks in aligned memory
}

func openSpool() (*spool, error) {
	name, err := disk(scratchKind)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		var slot []byte
		if slot, err = unix.Mmap(-1, 0, link.SpoolSlot, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err == nil {
			return &spool{f, size - link.SpoolSize, slot}, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("cannot open the spool: %w", err), f.Close())
}

func (s *spool) read(offset, n int) ([]byte, error) {
	const block = 4096
	_, err := s.disk.ReadAt(s.slot[:(n+block-1)/block*block], s.from+int64(offset))
	return s.slot[:n], err
}

func (s *spool) close() { unix.Munmap(s.slot); s.disk.Close() }
