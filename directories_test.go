package pyro

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory on a network file system is refused whether it is there or yet to be made; this host's are not.
func TestNetworkDirectories(t *testing.T) {
	mounts := map[string]int64{"/": unix.EXT4_SUPER_MAGIC, "/home": unix.NFS_SUPER_MAGIC,
		"/share": unix.SMB2_SUPER_MAGIC, "/scratch": unix.TMPFS_MAGIC, "/work": unix.FUSE_SUPER_MAGIC}
	statfs := func(path string, st *unix.Statfs_t) error {
		kind, ok := mounts[path]
		if !ok {
			return &fs.PathError{Op: "statfs", Path: path, Err: unix.ENOENT}
		}
		st.Type = kind
		return nil
	}
	for dir, want := range map[string]string{
		"/home":                     "NFS",
		"/home/me/.cache/pyro":      "NFS",
		"/share/pyro":               "SMB",
		"/scratch/me/pyro":          "",
		"/work/pyro":                "",
		"/var/lib/pyro":             "",
		"/":                         "",
		"/scratch/deep/down/in/dir": "",
	} {
		err := ofThisHost("cache", dir, statfs)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", dir, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Cause != "network_directory" || !strings.Contains(e.Message, want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := ofThisHost("cache", t.TempDir(), unix.Statfs); err != nil {
		t.Errorf("this host's own: %v", err)
	}
}

// One variable moves both directories, and those that name one alone come first.
func TestHome(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{homeVariable: home, "PYRO_CACHE_DIR": "", "PYRO_STATE_DIR": "",
		"XDG_STATE_HOME": "/elsewhere", "XDG_CACHE_HOME": "/elsewhere"} {
		t.Setenv(name, value)
	}
	check := func(cache, state string) {
		t.Helper()
		var o Options
		err := completeDirs(&o.CacheDir, &o.StateDir)
		if err != nil || o.CacheDir != cache || o.StateDir != state {
			t.Errorf("the directories are %q and %q, %v", o.CacheDir, o.StateDir, err)
		}
	}
	check(filepath.Join(home, "cache"), filepath.Join(home, "state"))
	other := t.TempDir()
	t.Setenv("PYRO_CACHE_DIR", other)
	check(other, filepath.Join(home, "state"))
}
