package record

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// turnFile is locked by who is next to have a place. It stands beside the VMs.
const turnFile = ".turn"

// Turn makes the caller the one whose turn it is to have a place, or gives [ErrLocked] if somebody else is.
// Closing the file ends that, and so does the caller's death.
func (r Root) Turn() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(r.path, turnFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return f, nil
}

// Queued tells whether somebody waits for a place.
func (r Root) Queued() bool {
	f, err := os.Open(filepath.Join(r.path, turnFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
