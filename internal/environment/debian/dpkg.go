package debian

import (
	"archive/tar"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// unpacked is a package whose data lies in the tree.
type unpacked struct {
	*binary
	control paragraph
	files   map[string][]byte // of the control archive
	list    []string          // of paths, as dpkg keeps it
}

// instance is what dpkg calls the package in the names of its files: with the architecture if several can
// be installed beside each other.
func (u *unpacked) instance() string {
	if u.control.get("Multi-Arch") == "same" {
		return u.name + ":" + u.arch
	}
	return u.name
}

// hasScript tells whether dpkg would run something to configure the package. Without that, and with its
// configuration files in place, configuring it is only a change of state.
func (u *unpacked) hasScript() bool { return u.files["postinst"] != nil || u.files["config"] != nil }

// dpkgDir is dpkg's database.
const dpkgDir = "var/lib/dpkg"

// writeDatabase adds dpkg's database to the tree, in the state in which dpkg leaves it when all is unpacked.
// Packages without scripts are entered as installed.
func writeDatabase(t *rootfs, packages []*unpacked) error {
	var status strings.Builder
	triggers := map[string][]string{} // who is interested, by name or path
	for _, u := range packages {
		paragraph, err := u.status(t)
		if err != nil {
			return fmt.Errorf("package %q: %w", u.name, err)
		}
		status.WriteString(paragraph)
		if err := u.writeInfo(t); err != nil {
			return err
		}
		u.interests(triggers)
	}
	files := map[string]string{
		"status": status.String(), "available": "", "diversions": "", "statoverride": "",
		"info/format":       "1\n",
		"triggers/Unincorp": "", "triggers/Lock": "", "lock": "", "lock-frontend": "",
	}
	for name, who := range triggers {
		if strings.HasPrefix(name, "/") {
			for _, w := range who {
				files["triggers/File"] += name + " " + w + "\n"
			}
			continue
		}
		files["triggers/"+name] = strings.Join(who, "\n") + "\n"
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := t.file(dpkgDir+"/"+name, 0o644, files[name]); err != nil {
			return err
		}
	}
	for _, name := range []string{"alternatives", "info", "parts", "updates", "triggers"} {
		if err := t.dir(dpkgDir+"/"+name, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// status is the package's paragraph in dpkg's status file.
func (u *unpacked) status(t *rootfs) (string, error) {
	var b strings.Builder
	state := "unpacked"
	if !u.hasScript() {
		state = "installed"
	}
	for _, f := range u.control {
		fmt.Fprintf(&b, "%s: %s\n", f.name, f.value)
		if strings.EqualFold(f.name, "Package") {
			fmt.Fprintf(&b, "Status: install ok %s\n", state)
		}
	}
	for i, name := range u.conffiles() {
		digest, err := md5Of(t, name)
		if errors.Is(err, fs.ErrNotExist) {
			digest = "newconffile"
		} else if err != nil {
			return "", err
		}
		if i == 0 {
			b.WriteString("Conffiles:\n")
		}
		fmt.Fprintf(&b, " %s %s\n", name, digest)
	}
	b.WriteString("\n")
	return b.String(), nil
}

// conffiles lists the package's configuration files. A line with a flag before the path is about one that
// goes.
func (u *unpacked) conffiles() []string {
	var names []string
	for line := range strings.Lines(string(u.files["conffiles"])) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "/") {
			names = append(names, line)
		}
	}
	return names
}

func md5Of(t *rootfs, name string) (string, error) {
	r, err := t.Open(strings.TrimPrefix(name, "/"))
	if err != nil {
		return "", err
	}
	h := md5.New() // what dpkg compares configuration files by
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeInfo adds the package's files in dpkg's info directory.
func (u *unpacked) writeInfo(t *rootfs) error {
	prefix := dpkgDir + "/info/" + u.instance() + "."
	if err := t.file(prefix+"list", 0o644, strings.Join(u.list, "\n")+"\n"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(u.files)) {
		if name == "control" {
			continue
		}
		mode := fs.FileMode(0o644)
		switch name {
		case "preinst", "postinst", "prerm", "postrm", "config":
			mode = 0o755
		}
		if err := t.file(prefix+name, mode, string(u.files[name])); err != nil {
			return err
		}
	}
	return nil
}

// interests notes the triggers that the package declares to act upon (deb-triggers(5)).
func (u *unpacked) interests(triggers map[string][]string) {
	for line := range strings.Lines(string(u.files["triggers"])) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) != 2 || strings.Contains(f[1], "..") || !strings.HasPrefix(f[1], "/") &&
			!isPackageName(f[1]) {
			continue
		}
		who := u.name
		if u.control.get("Multi-Arch") == "same" {
			who = u.instance()
		}
		switch f[0] {
		case "interest", "interest-await":
		case "interest-noawait":
			who += "/noawait"
		default:
			continue
		}
		triggers[f[1]] = append(triggers[f[1]], who)
	}
}

// fileList reads the paths of a data archive, as dpkg lists them.
func fileList(r io.ReaderAt, size int64) ([]string, error) {
	list := []string{"/."}
	tr := tar.NewReader(io.NewSectionReader(r, 0, size))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if name := path.Clean("/" + h.Name); name != "/" {
			if strings.Contains(name, "\n") {
				return nil, fmt.Errorf("the path %q is refused", name)
			}
			list = append(list, name)
		}
	}
}
