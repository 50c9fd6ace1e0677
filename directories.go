package pyro

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// homeVariable names one directory for both the cache and the state, for hosts on which the user's home is
// not the place for them.
const homeVariable = "PYRO_HOME"

// completeDirs fills in the directories that are not named, and refuses those that cannot be used.
func completeDirs(cache, state *string) error {
	for _, d := range []struct {
		what  string
		dir   *string
		usual func() (string, error)
	}{{"cache", cache, cacheDir}, {"state", state, stateDir}} {
		var err error
		if *d.dir == "" {
			*d.dir, err = d.usual()
		}
		if err == nil {
			*d.dir, err = filepath.Abs(*d.dir)
		}
		if err != nil {
			return &Error{
				Kind:    ErrInvalid,
				Message: fmt.Sprintf("cannot find a %s directory: %v", d.what, err),
				Cause:   "no_directory",
			}
		}
		if err := ofThisHost(d.what, *d.dir, unix.Statfs); err != nil {
			return err
		}
	}
	return trustDirs(*state, *cache)
}

func cacheDir() (string, error) {
	if dir := os.Getenv("PYRO_CACHE_DIR"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv(homeVariable); dir != "" {
		return filepath.Join(dir, "cache"), nil
	}
	base, err := os.UserCacheDir()
	return filepath.Join(base, "pyro"), err
}

func stateDir() (string, error) {
	if dir := os.Getenv("PYRO_STATE_DIR"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv(homeVariable); dir != "" {
		return filepath.Join(dir, "state"), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", errors.New("$XDG_STATE_HOME is not absolute")
		}
		return filepath.Join(dir, "pyro"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "pyro"), err
}

// networkFileSystem names the file systems that other hosts write, too, by statfs(2)'s type. Their locks may
// hold on one host alone, and then two would each sweep away what the other has.
func networkFileSystem(kind int64) string {
	switch kind {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "SMB"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "AFS"
	case unix.CODA_SUPER_MAGIC:
		return "Coda"
	}
	return ""
}

// ofThisHost refuses a directory that other hosts may share. It need not be there yet: the nearest that is
// counts.
func ofThisHost(what, dir string, statfs func(string, *unix.Statfs_t) error) error {
	for at := dir; ; at = filepath.Dir(at) {
		var st unix.Statfs_t
		err := statfs(at, &st)
		if errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
			continue
		}
		if err != nil {
			return nil // what cannot be looked at cannot be used, which is said by whoever tries
		}
		if name := networkFileSystem(st.Type); name != "" {
			return &Error{
				Kind: ErrInvalid,
				Message: fmt.Sprintf("cannot use the %s directory %q: it is on %s, whose locks do not hold "+
					"between hosts", what, dir, name),
				Cause: "network_directory",
			}
		}
		return nil
	}
}
