package oci

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds of decompression: no image has more than maxPlain bytes in all its layers, and what decompresses to
// more than freely is not more than maxGrowth times as large as it is stored.
const (
	maxPlain  = 64 << 30
	freely    = 1 << 30
	maxGrowth = 200
	maxWindow = 128 << 20 // of memory for zstd
)

// stored is a layer as it is stored.
type stored struct {
	open     func() (io.ReadCloser, error)
	verified bool // its digest is
}

// plain is a layer's tar.
type plain struct {
	file   *os.File
	size   int64
	stored int64 // bytes as it is stored
}

// mayHold bounds the logical sizes of the files in the layer, like its decompression: a sparse file of any
// size takes a few bytes in a tar.
func (p plain) mayHold() int64 { return max(freely, p.stored*maxGrowth) }

// unpacker makes tars of layers. The tars are files without a name, which are gone when they are closed.
type unpacker struct {
	dir    string
	left   atomic.Int64 // of maxPlain
	freely int64
}

func newUnpacker(dir string) *unpacker {
	u := &unpacker{dir: dir, freely: freely}
	u.left.Store(maxPlain)
	return u
}

// unpack decompresses a layer while it verifies both digests: of what is stored, and of what is in it.
func (u *unpacker) unpack(ctx context.Context, l layer, b stored) (_ plain, err error) {
	in, err := b.open()
	if err != nil {
		return plain{}, err
	}
	defer in.Close()
	sum := sha256.New()
	raw := &counter{Reader: in, ctx: ctx}
	var from io.Reader = raw
	if !b.verified && l.digest.Hex != "" {
		from = io.TeeReader(raw, sum)
	} else {
		sum = nil
	}
	buffered := bufio.NewReaderSize(from, 256<<10)
	tar, _, err := decompress(buffered)
	if err != nil {
		return plain{}, err
	}
	defer tar.Close()
	out, err := u.create()
	if err != nil {
		return plain{}, err
	}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	content := sha256.New()
	size, err := io.Copy(io.MultiWriter(out, content), &bounded{tar, u, raw, 0})
	if err != nil {
		return plain{}, fmt.Errorf("cannot decompress it: %w", err)
	}
	if got := hex.EncodeToString(content.Sum(nil)); got != l.diffID.Hex {
		return plain{}, fmt.Errorf("its content has the SHA-256 %s where the configuration says %s", got,
			l.diffID.Hex)
	}
	err = finish(buffered, sum, l)
	return plain{out, size, raw.n}, err
}

// finish reads what the decompressor left, and compares the digest of the whole.
func finish(rest io.Reader, sum hash.Hash, l layer) error {
	if sum == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, rest); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != l.digest.Hex {
		return fmt.Errorf("it has the SHA-256 %s where the manifest says %s: it was damaged or changed", got,
			l.digest.Hex)
	}
	return nil
}

func (u *unpacker) create() (*os.File, error) {
	f, err := os.CreateTemp(u.dir, "layer-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress reads gzip, zstd, or what is neither. Media types are not asked: they are wrong too often.
func decompress(r *bufio.Reader) (in io.ReadCloser, compressed bool, err error) {
	magic, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		in, err := gzip.NewReader(r)
		return in, true, err
	case bytes.HasPrefix(magic, zstdMagic):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, true, err
		}
		return z.IOReadCloser(), true, nil
	}
	return io.NopCloser(r), false, nil
}

// counter counts what is read, and ends with its context.
type counter struct {
	io.Reader
	ctx context.Context
	n   int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded ends what decompresses to too much.
type bounded struct {
	io.Reader
	u    *unpacker
	raw  *counter
	size int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.size += int64(n)
	if b.u.left.Add(-int64(n)) < 0 {
		return 0, fmt.Errorf("the layers have more than the %d bytes allowed when decompressed",
			int64(maxPlain))
	}
	if b.size > b.u.freely && b.size/maxGrowth > b.raw.n {
		return 0, fmt.Errorf("%d bytes of it have become %d: more than %d times as much is refused", b.raw.n,
			b.size, maxGrowth)
	}
	return n, err
}
