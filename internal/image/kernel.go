package image

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// maxKernel bounds an unpacked kernel: Debian's have 50 to 80 MiB.
const maxKernel = 512 << 20

// kernelFormats are the compressions that a kernel's payload may have, told by its first bytes.
var kernelFormats = [...]struct {
	name   string
	magic  string
	unpack func(payload []byte) (io.Reader, error)
}{
	{"gzip", "\x1f\x8b", func(p []byte) (io.Reader, error) {
		r, err := gzip.NewReader(bytes.NewReader(p))
		if err == nil {
			r.Multistream(false) // the kernel's own length may follow
		}
		return r, err
	}},
	{"xz", "\xfd7zXZ\x00", func(p []byte) (io.Reader, error) {
		r, err := xz.NewReader(bytes.NewReader(p), 128<<20)
		if err == nil {
			r.Multistream(false)
		}
		return r, err
	}},
	{"zstd", "\x28\xb5\x2f\xfd", func(p []byte) (io.Reader, error) {
		return zstd.NewReader(bytes.NewReader(p), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(256<<20))
	}},
	{"lz4", lz4Magic, func(p []byte) (io.Reader, error) { return newLZ4Reader(p) }},
}

// ExtractKernel returns the ELF kernel that a bzImage (the kernel's arch/x86/boot.rst) carries compressed by
// gzip, xz, zstd or lz4. A VMM that loads it by its PVH note spares the guest the unpacking.
func ExtractKernel(bzImage []byte) ([]byte, error) {
	payload, err := kernelPayload(bzImage)
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel image: %w", err)
	}
	for _, f := range kernelFormats {
		if !bytes.HasPrefix(payload, []byte(f.magic)) {
			continue
		}
		kernel, err := unpackKernel(payload, f.unpack)
		if err != nil {
			return nil, fmt.Errorf("cannot unpack the kernel (%s): %w", f.name, err)
		}
		return kernel, nil
	}
	return nil, fmt.Errorf("cannot unpack the kernel: its payload begins with %x, which is no known "+
		"compression",
		payload[:min(6, len(payload))])
}

// Offsets in a bzImage's setup header.
const (
	setupSectors  = 0x1f1
	setupMagic    = 0x202
	setupVersion  = 0x206
	setupPayload  = 0x248
	setupLength   = 0x24c
	setupEnd      = 0x250
	setupSector   = 512
	setupSectors0 = 4 // what zero stands for
)

func kernelPayload(b []byte) ([]byte, error) {
	le := binary.LittleEndian
	if len(b) < setupEnd || string(b[setupMagic:setupMagic+4]) != "HdrS" {
		return nil, errors.New("it is not a bzImage")
	}
	if version := le.Uint16(b[setupVersion:]); version < 0x208 {
		return nil, fmt.Errorf("its boot protocol %x is older than 2.08", version)
	}
	sectors := int64(b[setupSectors])
	if sectors == 0 {
		sectors = setupSectors0
	}
	from := (sectors+1)*setupSector + int64(le.Uint32(b[setupPayload:]))
	to := from + int64(le.Uint32(b[setupLength:]))
	// The last four bytes are the length of what is unpacked.
	if from > to-4 || to > int64(len(b)) {
		return nil, fmt.Errorf("its payload (bytes %d to %d) is not within its %d bytes", from, to, len(b))
	}
	return b[from:to], nil
}

func unpackKernel(payload []byte, unpack func([]byte) (io.Reader, error)) ([]byte, error) {
	length := binary.LittleEndian.Uint32(payload[len(payload)-4:])
	if length > maxKernel {
		return nil, fmt.Errorf("%w of %d bytes", ErrLimit, maxKernel)
	}
	// What follows the compressed data is its length. gzip has it at the end of its own form, so it is left
	// on for it.
	r, err := unpack(payload)
	if err != nil {
		return nil, err
	}
	if c, ok := r.(interface{ Close() }); ok {
		defer c.Close()
	}
	kernel := bytes.NewBuffer(make([]byte, 0, min(length, maxPrealloc)))
	if _, err := io.CopyN(kernel, r, int64(length)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if _, err := elf.NewFile(bytes.NewReader(kernel.Bytes())); err != nil {
		return nil, fmt.Errorf("what is in it is not an ELF file: %w", err)
	}
	return kernel.Bytes(), nil
}

// maxPrealloc bounds what is allocated on the word of a header alone.
const maxPrealloc = 96 << 20
