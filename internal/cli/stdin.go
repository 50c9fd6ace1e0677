package cli

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// foregroundPace is how often a command in the background looks whether it has come to the front.
const foregroundPace = 200 * time.Millisecond

// input is our standard input as a command in a guest may have it: nil if there is none to be had. It is
// read once the command reads its own, so that a loop's input, or a terminal's, is not taken by a command
// that wants none.
func (a *app) input() io.Reader {
	f, ok := a.stdin.(*os.File)
	if !ok {
		return a.stdin
	}
	var st, null unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return nil // It is closed.
	}
	if unix.Stat(os.DevNull, &null) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == null.Rdev {
		return nil
	}
	return foreground{f}
}

// foreground reads a terminal only in the foreground of its session: who reads it in the background is
// stopped.
type foreground struct{ file *os.File }

func (f foreground) Read(p []byte) (int, error) {
	for !f.mayRead() {
		time.Sleep(foregroundPace)
	}
	return f.file.Read(p)
}

// mayRead tells whether a read is answered: the file is not the controlling terminal, or pyro is in front.
func (f foreground) mayRead() bool {
	group, err := unix.IoctlGetInt(int(f.file.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}
