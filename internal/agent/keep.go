package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// gone is the record that says of an entry that it is no more.
const gone = "PYRO.gone"

// keeper sends what was written to a guest's disk that is memory, so that the host can keep it: all of it,
// or what has changed since it was last asked.
type keeper struct {
	root *os.Root // of the disk

	mu   sync.Mutex
	kept map[string]stamp // what the host has
}

// stamp changes when a file does.
type stamp struct {
	ino, size    uint64
	mode, nlink  uint32
	uid, gid     uint32
	mtime, ctime syscall.Timespec
}

func (s stamp) regular() bool { return s.mode&unix.S_IFMT == unix.S_IFREG }

// changes are what the host does not have yet.
type changes struct {
	gone, new []string
	now       map[string]stamp
}

// save sends the entries that are gone, then those that are new or changed.
func (k *keeper) save(ctx context.Context, full bool, to io.Writer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if full {
		k.kept = nil
	}
	c, err := k.changes(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the guest's files: %w", err)
	}
	k.kept = nil // unless all goes well
	buffered := bufio.NewWriterSize(to, 64<<10)
	sender := newSender(k.root, buffered)
	defer sender.forget()
	for _, name := range c.gone {
		if err := sender.gone(name); err != nil {
			return err
		}
	}
	for _, name := range c.new {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := sender.add(name, c.now[name].regular()); err != nil && !errors.Is(err, fs.ErrNotExist) &&
			!errors.Is(err, unix.ENOTDIR) {
			return fmt.Errorf("cannot send the guest's file %q: %w", name, err)
		}
	}
	if err := errors.Join(sender.tar.Close(), buffered.Flush()); err != nil {
		return err
	}
	k.kept = c.now
	return nil
}
