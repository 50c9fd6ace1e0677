package pyro

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/record"
)

// Bounds of what is kept of a seed's contents, in bytes. Of larger files, and of those beyond the sum, only
// git's name of the content is kept: it can be told that they have changed, and not from what.
const (
	maxBaseFile = 1 << 20
	maxBase     = 256 << 20
)

// baseNote says where a task's seed came from, and how to look at it again.
type baseNote struct {
	Source         string   `json:"source"`
	Exclude        []string `json:"exclude,omitempty"`
	Behind         []string `json:"behind,omitempty"` // patterns of all that stayed behind
	Strict         bool     `json:"strict,omitempty"`
	IncludeIgnored bool     `json:"include_ignored,omitempty"`
	// Conflicts are what a SyncTask left as the task has it.
	Conflicts []string `json:"conflicts,omitempty"`
	// SinceNS is when the seed was in place, by the guest's clock: no file that has changed since is older.
	SinceNS int64 `json:"since_ns"`
}

// base is a task's seed as it is kept in its directory: what changes are told against.
type base struct {
	dir string
	baseNote
}

func (b base) pack() string { return filepath.Join(b.dir, record.SeedPackFile) }

// base gives a task's seed. One that was empty has no files.
func (p *Pyro) base(id string) (base, error) {
	b := base{dir: p.instances.Dir(id)}
	data, err := os.ReadFile(filepath.Join(b.dir, record.SeedFile))
	if err == nil {
		err = json.Unmarshal(data, &b.baseNote)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	vm, err := p.status(id)
	if err != nil {
		return b, err
	}
	if vm.Seed != nil && vm.Seed.Mode != "empty" {
		return b, &Error{
			Kind: ErrState,
			Message: fmt.Sprintf("what %q was seeded with is not kept: an older pyro made it, or the task "+
				"that it was forked from is gone", id),
		}
	}
	return b, nil
}

// write writes down where a seed came from.
func (b base) write() error {
	data, err := json.Marshal(b.baseNote)
	if err != nil {
		return err
	}
	name := filepath.Join(b.dir, record.SeedFile)
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// walk visits what a task was seeded with.
func (b base) walk(ctx context.Context, visit func(archive.Entry, io.Reader) error) error {
	return walkPack(ctx, b.pack(), visit)
}

func walkPack(ctx context.Context, name string, visit func(archive.Entry, io.Reader) error) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // It was empty.
	}
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	if _, err := archive.Walk(ctx, z, hugeLimits(), visit); err != nil {
		return fmt.Errorf("cannot read the seed that was kept: %w", err)
	}
	return nil
}

// hugeLimits are for what was judged already when it was seeded.
func hugeLimits() archive.Limits {
	return archive.Limits{MaxEntries: maxDownloadEntries, MaxBytes: maxDownloadBytes}
}

// inherit gives a fork the seed of the task that it comes from, if that is there.
func inherit(from, to string) error {
	for _, name := range []string{record.SeedPackFile, record.SeedFile} {
		err := os.Link(filepath.Join(from, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// keeper keeps a seed as it goes by.
type keeper struct {
	*io.PipeWriter
	done chan error
}

// keepPack keeps the stream that is written to the keeper, contents as far as the bounds go, in a file.
func keepPack(ctx context.Context, name string) *keeper {
	r, w := io.Pipe()
	k := &keeper{w, make(chan error, 1)}
	go func() {
		err := writePack(ctx, name, r)
		// What is seeded does not wait for what cannot be kept; finish tells.
		_, _ = io.Copy(io.Discard, r)
		k.done <- err
	}()
	return k
}

// finish ends the stream, with the error that ended it if there is one.
func (k *keeper) finish(err error) error {
	k.CloseWithError(err)
	if kept := <-k.done; err == nil && kept != nil {
		return fmt.Errorf("cannot keep the seed: %w", kept)
	}
	return err
}

func writePack(ctx context.Context, name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	out, left := archive.NewWriter(z), int64(maxBase)
	_, err = archive.Walk(ctx, r, hugeLimits(), func(e archive.Entry, content io.Reader) error {
		if content == nil {
			return out.Put(e, nil)
		}
		if e.Size <= min(maxBaseFile, left) {
			left -= e.Size
			data, err := io.ReadAll(content)
			return errors.Join(err, out.Put(e, data))
		}
		id, err := blobID(e.Size, content)
		e.Head, e.Target = true, id
		return errors.Join(err, out.Put(e, nil))
	})
	return errors.Join(err, out.Close(), z.Close(), f.Close())
}

// blobID is git's name of a content.
func blobID(size int64, content io.Reader) (string, error) {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	_, err := io.Copy(h, content)
	return hex.EncodeToString(h.Sum(nil)), err
}

// contentOf finds a file's content in the seed, for one that is another name of it; nil is not kept.
func (b base) contentOf(ctx context.Context, path string) (content []byte, id string, err error) {
	errFound := errors.New("found")
	err = b.walk(ctx, func(e archive.Entry, r io.Reader) error {
		if e.Path != path {
			return nil
		}
		if id = e.Target; r != nil {
			var all bytes.Buffer
			_, err := all.ReadFrom(r)
			content, id = all.Bytes(), ""
			return errors.Join(err, errFound)
		}
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return content, id, err
}
