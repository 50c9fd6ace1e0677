// Package checkpoint keeps a process as a file, and makes a process of it again: the file is an executable,
// and whoever executes it becomes that process, with its memory, threads and files, where it stood.
//
// It is made for programs that we have started ourselves, which hold little of the kernel's: memory, threads,
// sockets and files that are handed to them, event descriptors. What holds more is refused. A checkpoint goes
// on only in the same boot of the same host, and while the programs that it consists of are unchanged.
package checkpoint

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrUnsupported is that this machine, its kernel or the process has something that cannot be kept.
var ErrUnsupported = errors.New("a checkpoint cannot be had")

// unsupported says what cannot be kept.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// Process is what is to be kept.
type Process struct {
	PID int
	// Files are those that the process was given, and that whoever executes the checkpoint passes in the same
	// order from number 3 on, behind them the checkpoint itself. They may be other files of the same kind.
	// Standard input, output and error are whatever they are then.
	Files []File
	// Filter is put on the process before it goes on, on top of what it is executed with. It may be empty.
	Filter []unix.SockFilter
}

// File is a file that a process has open.
type File struct{ Device, Inode uint64 }

// Identify tells which file is open.
func Identify(f *os.File) (File, error) {
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	return FileOf(info), nil
}

// FileOf tells which file an os.FileInfo is of, if that comes from this system.
func FileOf(info os.FileInfo) File {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return File{}
	}
	return File{st.Dev, st.Ino}
}

// need is a file that a checkpoint maps, and that must be what it was.
type need struct {
	Path     string `json:"path"`
	Inode    uint64 `json:"inode"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified_ns"`
}

// note is what must be true for a checkpoint to go on. It stands at the end of the file, in JSON, before its
// own length.
type note struct {
	Boot  string `json:"boot_id"`
	Needs []need `json:"needs"`
}

// maxNote bounds a note.
const maxNote = 1 << 20

// Fits tells why a checkpoint cannot go on here and now, as far as that can be told from outside: nil is that
// it may.
func Fits(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var length [4]byte
	if _, err := f.ReadAt(length[:], info.Size()-int64(len(length))); err != nil {
		return fmt.Errorf("cannot read a checkpoint: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(length[:]))
	if n > maxNote || n > info.Size()-int64(len(length)) {
		return fmt.Errorf("cannot read a checkpoint: %w", io.ErrUnexpectedEOF)
	}
	data := make([]byte, n)
	if _, err := f.ReadAt(data, info.Size()-int64(len(length))-n); err != nil {
		return fmt.Errorf("cannot read a checkpoint: %w", err)
	}
	var known note
	if err := json.Unmarshal(data, &known); err != nil {
		return fmt.Errorf("cannot read a checkpoint: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	if known.Boot != boot {
		return unsupported("the host was started anew since it was made")
	}
	for _, was := range known.Needs {
		if is, err := needOf(was.Path); err != nil || is != was {
			return unsupported("%s has changed since it was made", was.Path)
		}
	}
	return nil
}

func needOf(path string) (need, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return need{}, err
	}
	return need{
		Path:     path,
		Inode:    st.Ino,
		Size:     st.Size,
		Modified: st.Mtim.Nano(),
	}, nil
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// Take writes a checkpoint of a process to an empty file; it stands still meanwhile, and goes on afterwards.
// The caller must be allowed to trace the process, and nobody may wait for it meanwhile, since a wait gets
// what is for the tracer. What cannot be kept gives [ErrUnsupported].
func Take(ctx context.Context, p Process, to *os.File) error {
	boot, err := bootID()
	if err == nil {
		err = take(ctx, p, boot, to)
	}
	if err != nil {
		return fmt.Errorf("cannot take a checkpoint: %w", err)
	}
	return nil
}
