package record

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	namePattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	idBeginnings = regexp.MustCompile(`^[0-9a-f]{1,12}$`)
)

// ValidName tells whether a word can be a VM's name: 1 to 63 lower-case letters, digits, dots, dashes and
// underscores that begin with a letter or digit, and do not look like an id.
func ValidName(name string) bool {
	for _, kind := range []Kind{KindRun, KindVM, KindTask, KindBuild, KindPool} {
		if strings.HasPrefix(name, string(kind)+"-") {
			return false
		}
	}
	return namePattern.MatchString(name)
}

// Beginning is what the ids of a kind begin with that a word may mean, with or without their kind; false if
// it can be the beginning of none.
func Beginning(word string, kind Kind) (string, bool) {
	digits := strings.TrimPrefix(word, string(kind)+"-")
	return string(kind) + "-" + digits, idBeginnings.MatchString(digits)
}

// LockNames has one at a time look whether a name is free and take it. Closing the file frees the lock.
func (r Root) LockNames() (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(r.path, ".names"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}
