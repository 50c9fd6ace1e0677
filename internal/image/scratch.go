package image

import (
	"bytes"
	"compress/flate"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

//go:generate go run mkscratch.go scratch.bin 128M
//go:generate go run mkscratch.go scratch-8g.bin 8G

// Empty ext4s as mkscratch.go made them: compressed, each block that is not all zeros as its number (32 bits,
// little-endian) and its 4096 bytes.
var (
	//go:embed scratch.bin
	scratchLeast []byte
	//go:embed scratch-8g.bin
	scratch8G []byte
)

// ScratchSize is the least size of a file for WriteScratch.
const ScratchSize = 128 << 20

// WriteScratch makes an empty, journaled ext4 in a new sparse file of the given size (at least ScratchSize)
// at path: of 8 GiB if that has room, else of ScratchSize. The guest grows the file system to the size of
// its disk with EXT4_IOC_RESIZE_FS, which takes it 75 ms under emulation: the 8 GiB spare it the default
// size.
func WriteScratch(path string, size int64) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot make the disk %q: %w", path, err)
		}
	}()
	if size < ScratchSize {
		return fmt.Errorf("%d bytes are less than the %d that it needs", size, int64(ScratchSize))
	}
	// Whole or not at all, also if its maker is killed: half a disk would be taken for one that was used.
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(writeScratch(f, size), f.Close())
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(part))
	}
	return err
}

func writeScratch(f *os.File, size int64) error {
	blocks := scratchLeast
	if size >= 8<<30 {
		blocks = scratch8G
	}
	r := flate.NewReader(bytes.NewReader(blocks))
	var number uint32
	var block [blockSize]byte
	for {
		err := binary.Read(r, binary.LittleEndian, &number)
		if errors.Is(err, io.EOF) {
			return f.Truncate(size)
		}
		if err == nil {
			_, err = io.ReadFull(r, block[:])
		}
		if err == nil {
			_, err = f.WriteAt(block[:], int64(number)*blockSize)
		}
		if err != nil {
			return err
		}
	}
}
