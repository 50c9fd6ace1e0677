package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 1 << 20
	// copyAlone is from which length on content is copied by the kernel rather than through the buffer.
	copyAlone = 256 << 10
	// holeSize is from which length on zeros are left out of the file rather than written.
	holeSize = 4 * blockSize
	// copyAtOnce bounds one such copy, so that a cancelled context is noticed.
	copyAtOnce = 64 << 20
)

// output writes a file from front to back: small parts through a buffer, large ones by the kernel, zeros not
// at all.
type output struct {
	alive func() error // why to stop, if so
	w     *os.File
	buf   []byte
	pos   int64 // of the end of buf in the file
	plain bool  // the kernel does not copy between these files
}

func newOutput(ctx context.Context, w *os.File) (*output, error) {
	if err := w.Truncate(0); err != nil {
		return nil, err
	}
	return &output{alive: ctx.Err, w: w, buf: make([]byte, 0, bufferSize)}, nil
}

func (o *output) flush() error {
	if err := o.alive(); err != nil {
		return err
	}
	if len(o.buf) == 0 {
		return nil
	}
	_, err := o.w.WriteAt(o.buf, o.pos-int64(len(o.buf)))
	o.buf = o.buf[:0]
	return err
}

func (o *output) write(p []byte) error {
	for len(p) > 0 {
		if len(o.buf) == cap(o.buf) {
			if err := o.flush(); err != nil {
				return err
			}
		}
		n := min(len(p), cap(o.buf)-len(o.buf))
		o.buf = append(o.buf, p[:n]...)
		o.pos += int64(n)
		p = p[n:]
	}
	return nil
}

// zero goes on to the given position; what lies between reads as zeros.
func (o *output) zero(to int64) error {
	gap := to - o.pos
	if gap < 0 {
		return fmt.Errorf("the layout goes back from byte %d to %d", o.pos, to)
	}
	if gap < holeSize && gap <= int64(cap(o.buf)-len(o.buf)) {
		n := len(o.buf)
		o.buf = o.buf[:n+int(gap)]
		clear(o.buf[n:])
		o.pos = to
		return nil
	}
	err := o.flush()
	o.pos = to
	return err
}

// fill writes exactly length bytes that read brings, by way of the buffer.
func (o *output) fill(length int64, read func(p []byte) (int, error)) error {
	for length > 0 {
		if len(o.buf) == cap(o.buf) {
			if err := o.flush(); err != nil {
				return err
			}
		}
		n := len(o.buf)
		got, err := read(o.buf[n : n+int(min(length, int64(cap(o.buf)-n)))])
		o.buf = o.buf[:n+got]
		o.pos += int64(got)
		length -= int64(got)
		if length > 0 && errors.Is(err, io.EOF) {
			return fmt.Errorf("the layer ends before the content: %w", io.ErrUnexpectedEOF)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// section writes the length bytes of r from off.
func (o *output) section(r io.ReaderAt, off, length int64) error {
	if f, ok := r.(*os.File); ok && length >= copyAlone && !o.plain {
		if err := o.flush(); err != nil {
			return err
		}
		n, err := o.kernelCopy(f, off, length)
		if err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return o.fill(length, func(p []byte) (int, error) {
		n, err := r.ReadAt(p, off)
		off += int64(n)
		return n, err
	})
}

// kernelCopy copies what it can; a kernel or file system that does not do it leaves the rest to the caller.
func (o *output) kernelCopy(f *os.File, off, length int64) (int64, error) {
	var done int64
	for done < length {
		if err := o.alive(); err != nil {
			return done, err
		}
		from, to := off+done, o.pos
		n, err := unix.CopyFileRange(int(f.Fd()), &from, int(o.w.Fd()), &to,
			int(min(length-done, copyAtOnce)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EDQUOT) ||
			errors.Is(err, unix.EFBIG) {
			return done, os.NewSyscallError("copy_file_range", err)
		}
		if err != nil || n == 0 {
			o.plain = err != nil
			return done, nil
		}
		done += int64(n)
		o.pos += int64(n)
	}
	return done, nil
}

// stream writes length bytes of r, blocks of zeros as holes.
func (o *output) stream(r io.Reader, length int64) error {
	var block, zeros [holeSize]byte
	for length > 0 {
		part := block[:min(length, int64(len(block)))]
		if _, err := io.ReadFull(r, part); err != nil {
			return fmt.Errorf("the layer ends before the content: %w", err)
		}
		length -= int64(len(part))
		var err error
		if bytes.Equal(part, zeros[:len(part)]) {
			if err = o.alive(); err == nil {
				err = o.zero(o.pos + int64(len(part)))
			}
		} else {
			err = o.write(part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// finish writes what is buffered and gives the file its size.
func (o *output) finish(size int64) error {
	return errors.Join(o.flush(), o.w.Truncate(size))
}
