package guest

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/template"
	"golang.org/x/sys/unix"
)

// kept is the file in which the host keeps the disk of a guest whose disk is memory: parts, each behind its
// length (see [link.PartLength]). A part is written before its length is, so that what a crash leaves is
// whole.
type kept struct {
	path  string
	limit int64 // bytes that a part may have, and the file twice

	mu    sync.Mutex
	end   int64 // of the last whole part; 0 is not known, or that there is none
	first int64 // where the first part, which has everything, ends
}

// slack is what a disk's files take beside their content, in bytes: names and attributes.
const slack = 256 << 20

func newKept(path string, diskMiB int) *kept {
	return &kept{path: path, limit: int64(diskMiB)<<20 + slack}
}

// save keeps what has changed since the last time, or everything: the first time, when asked to, and when
// the changes have come to more than the whole.
func (k *kept) save(ctx context.Context, client *link.Client, full bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if full || k.end == 0 || k.end-k.first > k.first+slack {
		return k.whole(ctx, client)
	}
	f, err := os.OpenFile(k.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	end, err := k.part(ctx, client, f, k.end, false)
	if err != nil {
		k.end = 0 // The guest may take for kept what is not.
	} else {
		k.end = end
	}
	return errors.Join(err, f.Close())
}

// whole keeps everything, in a file that takes the old one's place.
func (k *kept) whole(ctx context.Context, client *link.Client) error {
	next := k.path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	k.end = 0
	end, err := k.part(ctx, client, f, 0, true)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, k.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	k.end, k.first = end, end
	return nil
}

// clone keeps everything, and copies what is kept.
func (k *kept) clone(ctx context.Context, client *link.Client, to string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.whole(ctx, client); err != nil {
		return err
	}
	if err := template.CloneDisk(k.path, to); err != nil {
		return err
	}
	return syncFile(to)
}

// part writes a part at a place, and gives where it ends.
func (k *kept) part(
	ctx context.Context, client *link.Client, f *os.File, at int64, full bool,
) (int64, error) {
	if err := f.Truncate(at); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// However much it is: a guest that sends is at work.
	quiet := time.AfterFunc(syncLimit, func() { cancel(context.DeadlineExceeded) })
	defer quiet.Stop()
	out := &bounded{
		w:    io.NewOffsetWriter(f, at+link.PartSize),
		left: k.limit,
		fail: cancel,
		sent: func() { quiet.Reset(syncLimit) },
	}
	err := client.Save(ctx, link.Save{Full: full}, out)
	if out.err != nil {
		return 0, out.err
	}
	if err != nil {
		return 0, cmp.Or(context.Cause(ctx), err)
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return 0, err
	}
	var length [link.PartSize]byte
	binary.LittleEndian.PutUint64(length[:], uint64(out.done))
	if _, err := f.WriteAt(length[:], at); err != nil {
		return 0, err
	}
	return at + link.PartSize + out.done, unix.Fdatasync(int(f.Fd()))
}

// bounded writes no more than the guest may send.
type bounded struct {
	w          io.Writer
	done, left int64
	err        error
	fail       context.CancelCauseFunc
	sent       func() // called when something has come
}

func (b *bounded) Write(p []byte) (int, error) {
	b.sent()
	if b.err == nil && int64(len(p)) > b.left {
		b.err = fmt.Errorf("the guest sends more than its disk holds")
	}
	if b.err != nil {
		b.fail(b.err)
		return 0, b.err
	}
	n, err := b.w.Write(p)
	b.done, b.left = b.done+int64(n), b.left-int64(n)
	if err != nil {
		b.err = err
		b.fail(err)
	}
	return n, err
}
