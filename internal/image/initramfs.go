package image

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
)

// InitFile is one file, directory or symbolic link (Data is its target) of an initramfs.
type InitFile struct {
	Path string
	Mode fs.FileMode
	Data []byte
}

// cpioPad is what archives are padded to. The kernel reads several on end where each begins on a word.
const cpioPad = 512

// WriteInitramfs writes the files as a newc archive (the kernel's
// driver-api/early-userspace/buffer-format.rst) in the order given, with the directories above them, and
// /dev/console, which the kernel wants before anything is mounted. The same files give the same bytes;
// archives may be written on end.
func WriteInitramfs(w io.Writer, files []InitFile) error {
	c := &cpio{w: bufio.NewWriter(w), dirs: map[string]bool{}}
	for _, f := range files {
		if err := c.add(f); err != nil {
			return fmt.Errorf("cannot write initramfs file %q: %w", f.Path, err)
		}
	}
	if err := c.console(); err != nil {
		return fmt.Errorf("cannot write the initramfs: %w", err)
	}
	return nil
}

type cpio struct {
	w      *bufio.Writer
	dirs   map[string]bool
	number int
	pos    int64
}

func (c *cpio) add(f InitFile) error {
	name := strings.TrimPrefix(path.Clean("/"+f.Path), "/")
	if name == "" || slices.Contains(strings.Split(f.Path, "/"), "..") {
		return errors.New("its path is refused")
	}
	if int64(len(f.Data)) > math.MaxUint32 {
		return errors.New("it is larger than 4 GiB")
	}
	if err := c.above(name); err != nil {
		return err
	}
	switch f.Mode.Type() {
	case fs.ModeDir:
		return c.dir(name, f.Mode)
	case 0, fs.ModeSymlink:
		return c.record(name, unixMode(f.Mode), 0, 0, f.Data)
	default:
		return fmt.Errorf("its type %v is not for an initramfs", f.Mode.Type())
	}
}

// above makes the missing directories above name.
func (c *cpio) above(name string) error {
	for i, r := range name {
		if r == '/' {
			if err := c.dir(name[:i], fs.ModeDir|0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cpio) dir(name string, mode fs.FileMode) error {
	if c.dirs[name] {
		return nil
	}
	c.dirs[name] = true
	return c.record(name, unixMode(mode), 0, 0, nil)
}

// console adds the console's node and ends the archive.
func (c *cpio) console() error {
	const name = "dev/console"
	if err := c.above(name); err != nil {
		return err
	}
	if err := c.record(name, unixMode(fs.ModeDevice|fs.ModeCharDevice|0o600), 5, 1, nil); err != nil {
		return err
	}
	c.number = -1 // so that the trailer is number 0, as the format has it
	if err := c.record("TRAILER!!!", 0, 0, 0, nil); err != nil {
		return err
	}
	if err := c.pad(cpioPad); err != nil {
		return err
	}
	return c.w.Flush()
}

func (c *cpio) record(name string, mode uint32, major, minor int, data []byte) error {
	c.number++
	n, err := fmt.Fprintf(c.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.number, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
	c.pos += int64(n)
	if err != nil {
		return err
	}
	if err := c.pad(4); err != nil {
		return err
	}
	n, err = c.w.Write(data)
	c.pos += int64(n)
	if err != nil {
		return err
	}
	return c.pad(4)
}

func (c *cpio) pad(unit int64) error {
	n, err := c.w.Write(make([]byte, align(c.pos, unit)-c.pos))
	c.pos += int64(n)
	return err
}
