package archive

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// openDirs holds the directories above one entry open, from the root on, so that the next entry, which most
// often is in the same, costs no lookup. A path is followed name by name, and never through a link.
type openDirs struct {
	fds   []int
	names []string // of all but the root
	path  string   // the names joined
}

// open returns the directory at path, open until the next call. For one that is missing it calls make.
func (d *openDirs) open(path string, make func(dir int, base, path string) error) (int, error) {
	if path == d.path {
		return d.fds[len(d.fds)-1], nil
	}
	var parts []string
	if path != "" {
		parts = strings.Split(path, "/")
	}
	same := 0
	for same < len(parts) && same < len(d.names) && parts[same] == d.names[same] {
		same++
	}
	d.truncate(same)
	for i, part := range parts[same:] {
		if err := d.push(part, strings.Join(parts[:same+i+1], "/"), make); err != nil {
			return -1, err
		}
	}
	return d.fds[len(d.fds)-1], nil
}

func (d *openDirs) push(name, path string, make func(dir int, base, path string) error) error {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	above := d.fds[len(d.fds)-1]
	fd, err := unix.Openat(above, name, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		if err = make(above, name, path); err == nil {
			fd, err = unix.Openat(above, name, flags, 0)
		}
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return refuse(path, "a link or a file stands where the directory is to be")
	}
	if err != nil {
		return err
	}
	d.fds, d.names, d.path = append(d.fds, fd), append(d.names, name), path
	return nil
}

// truncate closes all but the root and n directories below it.
func (d *openDirs) truncate(n int) {
	for _, fd := range d.fds[n+1:] {
		unix.Close(fd)
	}
	d.fds, d.names = d.fds[:n+1], d.names[:n]
	d.path = strings.Join(d.names, "/")
}

func (d *openDirs) close() {
	d.truncate(0)
	unix.Close(d.fds[0])
}
