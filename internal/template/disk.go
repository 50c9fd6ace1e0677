package template

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// CloneDisk copies a sparse file: by reflink if the file system can, else only where there is data. The
// copy is there whole or not at all, also if its maker is killed.
func CloneDisk(from, to string) (err error) {
	part := to + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := cloneDisk(from, part); err != nil {
		return err
	}
	return os.Rename(part, to)
}

func cloneDisk(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			err = errors.Join(fmt.Errorf("cannot clone the disk %q: %w", from, err), os.Remove(to))
		}
	}()
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	return copyData(in, out, info.Size())
}

func copyData(in, out *os.File, size int64) error {
	return eachExtent(in, size, func(at, end int64) error {
		_, err := io.Copy(io.NewOffsetWriter(out, at), io.NewSectionReader(in, at, end-at))
		return err
	})
}

// eachExtent calls do for all that is not a hole in a sparse file, from front to back.
func eachExtent(f *os.File, size int64, do func(at, end int64) error) error {
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := do(data, end); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// DiskCopy is the copy of a disk that is in use, made in two steps: most of it while the one who writes to it
// goes on, the rest while that stands still.
type DiskCopy struct {
	from, to string
	in, out  *os.File
	cloned   bool // the file system shares the data: there is nothing to be done ahead
}

// NewDiskCopy is to make a copy of the disk from under the name to. It must be closed.
func NewDiskCopy(from, to string) *DiskCopy { return &DiskCopy{from: from, to: to} }

// Ahead copies what there is, while the disk is written to.
func (c *DiskCopy) Ahead() (err error) {
	if c.in, err = os.Open(c.from); err != nil {
		return err
	}
	if c.out, err = os.OpenFile(c.to+".part", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	if unix.IoctlFileClone(int(c.out.Fd()), int(c.in.Fd())) == nil {
		c.cloned = true
		return nil
	}
	info, err := c.in.Stat()
	if err == nil {
		err = c.out.Truncate(info.Size())
	}
	if err == nil {
		err = copyData(c.in, c.out, info.Size())
	}
	return c.failed(err)
}

// Finish makes the copy the same as the disk, which nobody writes to; changed says that somebody may have,
// since Ahead was called.
func (c *DiskCopy) Finish(changed bool) error {
	var err error
	switch {
	case !changed:
	case c.cloned:
		err = unix.IoctlFileClone(int(c.out.Fd()), int(c.in.Fd()))
	default:
		err = c.changes()
	}
	if err == nil {
		err = os.Rename(c.to+".part", c.to)
	}
	return c.failed(err)
}

// Close ends the copying. What is not finished is removed.
func (c *DiskCopy) Close() error {
	var err error
	for _, f := range []*os.File{c.in, c.out} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if gone := os.Remove(c.to + ".part"); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

func (c *DiskCopy) failed(err error) error {
	if err != nil {
		err = fmt.Errorf("cannot copy the disk %q: %w", c.from, err)
	}
	return err
}

// changes brings over what differs: to compare is quicker than to write.
func (c *DiskCopy) changes() error {
	info, err := c.in.Stat()
	if err != nil {
		return err
	}
	if err := c.out.Truncate(info.Size()); err != nil {
		return err
	}
	// What has become a hole reads as zeros there, and may hide something of before here.
	var next int64
	if err := eachExtent(c.in, info.Size(), func(at, end int64) error {
		gap := next
		next = end
		return errors.Join(punch(c.out, gap, at), compare(c.in, c.out, at, end))
	}); err != nil {
		return err
	}
	return punch(c.out, next, info.Size())
}

// punch makes a hole, unless there is none to be made.
func punch(f *os.File, from, to int64) error {
	if to <= from {
		return nil
	}
	if data, err := unix.Seek(int(f.Fd()), from, unix.SEEK_DATA); err != nil || data >= to {
		if errors.Is(err, unix.ENXIO) {
			err = nil
		}
		return err
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
}

// comparedAtOnce is how much of two disks is compared at once, in bytes.
const comparedAtOnce = 256 << 10

// compare copies what differs from one place to another.
func compare(in, out *os.File, at, end int64) error {
	here, there := make([]byte, comparedAtOnce), make([]byte, comparedAtOnce)
	for at < end {
		n := min(comparedAtOnce, end-at)
		if _, err := in.ReadAt(here[:n], at); err != nil {
			return err
		}
		if _, err := out.ReadAt(there[:n], at); err != nil {
			return err
		}
		if !bytes.Equal(here[:n], there[:n]) {
			if _, err := out.WriteAt(here[:n], at); err != nil {
				return err
			}
		}
		at += n
	}
	return nil
}
