package debian

import (
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/image"
)

// rootfs is the environment's root as it is put together. What no package brings is dated by the archive.
type rootfs struct {
	*image.Tree
	stamp time.Time
}

// newRootfs returns a root with the links of a merged /usr, which must be there before anything is unpacked.
func newRootfs(stamp time.Time) (*rootfs, error) {
	r := &rootfs{image.NewTree(), stamp}
	err := r.dir("", 0o755)
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err == nil {
			err = r.dir("usr/"+name, 0o755)
		}
		if err == nil {
			err = r.Add(name, image.Entry{Mode: fs.ModeSymlink | 0o777, Link: "usr/" + name, ModTime: stamp})
		}
	}
	return r, err
}

func (r *rootfs) file(name string, mode fs.FileMode, content string) error {
	return r.Add(name, image.Entry{Mode: mode, Data: []byte(content), ModTime: r.stamp})
}

func (r *rootfs) dir(name string, mode fs.FileMode) error {
	return r.Add(name, image.Entry{Mode: fs.ModeDir | mode, ModTime: r.stamp})
}

// writeSettings adds the few files that an installer would write.
func (r *rootfs) writeSettings(codename, keyring string) error {
	var apt strings.Builder
	for _, s := range []struct{ uri, suites string }{
		{aptArchive, codename + " " + codename + "-updates"},
		{aptSecurity, codename + "-security"},
	} {
		fmt.Fprintf(&apt, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n", s.uri,
			s.suites, keyring)
	}
	files := []struct{ name, content string }{
		{"etc/apt/sources.list.d/debian.sources", strings.TrimSuffix(apt.String(), "\n")},
		{"etc/fstab", "# The guest's agent mounts what there is.\n"},
		{"etc/hostname", "pyro\n"},
		{"etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"},
		{"etc/resolv.conf", ""},
		{"etc/default/locale", "LANG=C.UTF-8\n"},
	}
	for _, f := range files {
		if err := r.file(f.name, 0o644, f.content); err != nil {
			return err
		}
	}
	return nil
}
