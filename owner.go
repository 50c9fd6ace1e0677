package pyro

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// trustDirs refuses directories in which somebody else could have put what pyro would take for its own. The
// cache may be root's: an administrator pulls, users run.
func trustDirs(stateDir, cacheDir string) error {
	if err := trusted("state", stateDir, false); err != nil {
		return err
	}
	return trusted("cache", cacheDir, true)
}

// trusted judges a directory, which need not be there yet, and the link that may stand in its place.
func trusted(what, dir string, rootMay bool) error {
	self := os.Geteuid()
	for _, look := range []func(string) (os.FileInfo, error){os.Lstat, os.Stat} {
		info, err := look(dir)
		if err != nil {
			return nil // What is missing is made, and what cannot be looked at cannot be used.
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		isLink := info.Mode()&os.ModeSymlink != 0
		if owner := int(st.Uid); owner != self && !(owner == 0 && (rootMay || isLink)) {
			why := fmt.Sprintf("it belongs to user %d, not to user %d, who runs pyro", owner, self)
			return untrusted(what, dir, why)
		}
		if info.IsDir() && info.Mode()&0o002 != 0 {
			return untrusted(what, dir, "any user may write to it")
		}
	}
	return nil
}

func untrusted(what, dir, why string) error {
	return &Error{
		Kind:    ErrInvalid,
		Message: fmt.Sprintf("cannot use the %s directory %q: %s", what, filepath.Clean(dir), why),
		Cause:   "untrusted_directory",
	}
}
