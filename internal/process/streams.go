package process

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Output carries what a command writes into a pipe to a writer. The command's end and the pipe's end are two
// things: a background process may hold the pipe for long after. So the reader is told when the command
// ended, and then carries what is in the pipe by then, and reads on to nowhere, for the background process
// shall not be stopped by a full or broken pipe.
type Output struct {
	file     *os.File
	finished chan struct{}
	ended    sync.Once
	err      error
}

// NewOutput makes a pipe and starts reading it into w. The file is the command's end: close it once the
// command is started.
func NewOutput(w io.Writer) (*Output, *os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	o := &Output{file: read, finished: make(chan struct{})}
	go o.carry(w)
	return o, write, nil
}

// quietFor is how long a terminal must say nothing after its command's end for its output to be complete: the
// kernel passes it on a little later.
const quietFor = 20 * time.Millisecond

// NewTerminalOutput starts reading what a command writes to its terminal into w.
func NewTerminalOutput(t *Terminal, w io.Writer) *Output {
	o := &Output{file: t.file, finished: make(chan struct{})}
	go o.carryTerminal(w)
	return o
}

// carryTerminal reads until nobody has the terminal any more, or the command has ended and nothing more
// comes.
func (o *Output) carryTerminal(w io.Writer) {
	defer close(o.finished)
	buffer := make([]byte, 32<<10)
	for {
		err := o.pass(w, o.file, buffer)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if o.err == nil && !errors.Is(err, unix.EIO) {
				o.err = err
			}
			return
		}
		_ = o.file.SetReadDeadline(time.Now().Add(quietFor))
		n, err := o.file.Read(buffer)
		if n > 0 && o.err == nil {
			_, o.err = w.Write(buffer[:n])
		}
		if err != nil {
			return
		}
		_ = o.file.SetReadDeadline(time.Unix(1, 0))
	}
}

// End is called when the command has ended. It returns once everything that the command wrote is with the
// writer, and gives the writer's error.
func (o *Output) End() error {
	o.ended.Do(func() { _ = o.file.SetReadDeadline(time.Unix(1, 0)) })
	<-o.finished
	return o.err
}

// How much is read at a time: more once a command prints more than that.
const (
	firstRead = 32 << 10
	mostRead  = 256 << 10
)

// wideBy is the size of the pipe of a command that prints much, in bytes. Each time that a command and its
// reader take turns costs an emulator what it knows of addresses.
const wideBy = 1 << 20

func (o *Output) carry(w io.Writer) {
	defer o.file.Close()
	buffer := make([]byte, firstRead)
	err := o.pass(w, o.file, buffer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = o.file.SetReadDeadline(time.Time{})
		var pending int
		if pending, err = o.pending(); err == nil {
			err = o.pass(w, io.LimitReader(o.file, int64(pending)), buffer)
		}
	}
	if o.err == nil {
		o.err = err
	}
	close(o.finished)
	_, _ = io.Copy(io.Discard, o.file)
}

// pending is how much the pipe holds.
func (o *Output) pending() (n int, err error) {
	raw, err := o.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	control := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n, errors.Join(control, err)
}

// widen makes room for a command that prints much, if the kernel allows it.
func (o *Output) widen() []byte {
	if raw, err := o.file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, wideBy) })
	}
	return make([]byte, mostRead)
}

// pass copies to the end of r, with a larger buffer if this one is filled. After the writer's first error it
// reads on, so that the command does not hang on a full pipe because nobody listens.
func (o *Output) pass(w io.Writer, r io.Reader, buffer []byte) error {
	for {
		n, err := r.Read(buffer)
		if n > 0 && o.err == nil {
			_, o.err = w.Write(buffer[:n])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if n == firstRead && n == len(buffer) {
			buffer = o.widen()
		}
	}
}

// NewInput gives the two ends of a command's input, the parent's nil if none is wanted: the command then
// reads nothing. Close the child's end once the command is started. Input that breaks off must not look
// complete to the command: the parent's end is closed at the input's true end, or when the command has ended.
func NewInput(wanted bool) (child, parent *os.File, err error) {
	if wanted {
		return os.Pipe()
	}
	child, err = os.Open(os.DevNull)
	return child, nil, err
}
