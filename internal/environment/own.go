package environment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OwnDir is where a user keeps what is made from a cache: in the cache itself, or, if the user may only read
// that (an administrator pulls, users run), in a directory of the user's state.
func OwnDir(cacheDir, stateDir string) string {
	err := unix.Access(cacheDir, unix.W_OK)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return cacheDir
	}
	return filepath.Join(stateDir, "cache")
}

// Shared tells whether what is made from an image may be read by all of the host's users: it is root's, whose
// cache others may use, and so is the image, which came without credentials.
func Shared(image string) bool {
	info, err := os.Stat(image)
	return err == nil && os.Geteuid() == 0 && info.Mode()&0o004 != 0
}

// writeEither has a file of the store written, or another if the store may only be read, and gives the path
// of that which was.
func writeEither(path, own string, write func(path string) error) (string, error) {
	err := write(path)
	if notOurs(err) && own != path {
		return own, write(own)
	}
	return path, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
