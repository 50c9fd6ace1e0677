package environment

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// usersDir stands beside an image and beside a kernel: a file for each VM that boots from it, with the
// path of the VM's directory. So Prune knows of VMs of other state directories.
const usersDir = "users"

// crowd is how many users are recorded before those that are gone are looked for.
const crowd = 64

// maxUser bounds a user's record as it is read.
const maxUser = 8 << 10

// Use records beside an image and its kernel that the VM in a directory needs them, until that directory
// is gone. The caller holds the environments. In a store that belongs to somebody else nothing can be
// recorded: who prunes it answers for it.
func (s *Store) Use(imageSHA256, kernelPath, vmDir string) error {
	for _, above := range s.homes(imageSHA256, kernelPath) {
		err := useIn(filepath.Join(above, usersDir), vmDir)
		if err != nil && !notOurs(err) {
			return fmt.Errorf("cannot record that an image is used: %w", NoSpace(err))
		}
	}
	return nil
}

// homes are the directories of an image and of a kernel, if they are in this store.
func (s *Store) homes(imageSHA256, kernelPath string) (dirs []string) {
	if imageSHA256 != "" && filepath.Base(imageSHA256) == imageSHA256 {
		dirs = append(dirs, s.path("images", imageSHA256))
	}
	if above := filepath.Dir(kernelPath); filepath.Dir(above) == s.path("kernels") {
		dirs = append(dirs, above)
	}
	return dirs
}

func useIn(dir, vmDir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if names, err := os.ReadDir(dir); err == nil && len(names) > crowd {
		dropUsers(dir)
	}
	sum := sha256.Sum256([]byte(vmDir))
	return writeMode(filepath.Join(dir, hex.EncodeToString(sum[:8])), []byte(vmDir+"\n"), 0o644)
}

// notOurs tells whether an error is that of a store which we may only read.
func notOurs(err error) bool { return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) }

// used tells whether a VM that is recorded in dir is there still. What cannot be read is taken to be.
func used(dir string) bool {
	dir = filepath.Join(dir, usersDir)
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		return true
	}
	for _, d := range names {
		if there(filepath.Join(dir, d.Name())) {
			return true
		}
	}
	return false
}

// there tells whether the VM of a user's record may be there still.
func there(record string) bool {
	data, err := readSmall(record, maxUser)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	vmDir, whole := strings.CutSuffix(string(data), "\n")
	if !whole || !filepath.IsAbs(vmDir) {
		return true
	}
	_, err = os.Lstat(vmDir)
	return !errors.Is(err, fs.ErrNotExist)
}

// dropUsers removes the records of VMs that are gone.
func dropUsers(dir string) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, d := range names {
		if path := filepath.Join(dir, d.Name()); !there(path) {
			_ = os.Remove(path)
		}
	}
}
