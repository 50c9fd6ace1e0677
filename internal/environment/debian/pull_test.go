package debian

import (
	"archive/tar"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// configurer is a working small Configurer: it "runs" the script by noting it, and gives back fixed changes.
type configurer struct {
	script string
	root   map[string]string // what was there before
	err    error
}

func (c *configurer) Configure(
	_ context.Context, b environment.Boot, script string, output, changes io.Writer,
) error {
	c.script = script
	root, err := readImage(b.Image)
	if err != nil {
		return err
	}
	c.root = root
	io.WriteString(output, "Setting up tool (2) ...\nit says something\n")
	if c.err != nil {
		return c.err
	}
	w := tar.NewWriter(changes)
	for _, h := range []*tar.Header{
		{
			Name:     "etc/configured",
			Mode:     0o644,
			Size:     4,
			Typeflag: tar.TypeReg,
		}, {Name: "etc/.wh.hostname", Typeflag: tar.TypeReg},
	} {
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if h.Size > 0 {
			io.WriteString(w, "yes\n")
		}
	}
	return w.Close()
}

// readImage returns the files and links of an image.
func readImage(path string) (map[string]string, error) {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// From Debian's package erofs-utils.
	if out, err := exec.Command("fsck.erofs", "--extract="+dir, "--force",
		path).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	files := map[string]string{}
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			files[rel] = "->" + target
			return err
		case d.Type().IsRegular():
			data, err := os.ReadFile(name)
			files[rel] = string(data)
			return err
		}
		return nil
	})
	return files, err
}

// newArchive returns a mirror with all that debian:12-base needs.
func newArchive(t *testing.T) *mirrorDouble {
	m := newMirror(t)
	m.add(t, "bookworm", "base-files", "12", "Essential: yes\nPriority: required\n",
		map[string]string{"conffiles": "/etc/issue\n"}, tarFile{"./", "", 0o755},
		tarFile{"./etc/", "", 0o755}, tarFile{"./etc/issue", "Debian\n", 0o644})
	m.add(t, "bookworm", "usr-is-merged", "1", "", nil)
	m.add(t, "bookworm", "tool", "1", "Priority: required\n", nil, tarFile{"./bin/tool", "old", 0o755})
	m.add(t, "bookworm-security", "tool", "2",
		"Priority: required\nDepends: libtool1 (>= 1) | nothing, something\nMulti-Arch: foreign\n",
		map[string]string{"postinst": "#!/bin/sh\n", "preinst": "#!/bin/sh\nset -e\ntouch /x\n",
			"triggers": "interest-noawait /usr/share/x\ninterest tools\n"},
		tarFile{"./bin/", "", 0o755}, tarFile{"./bin/tool", "new", 0o755},
		tarFile{"./bin/tl", "->tool", 0o777})
	m.add(t, "bookworm", "libtool1", "1:1.0", "Multi-Arch: same\nProvides: something\n", nil,
		tarFile{"./lib/libtool.so", "lib", 0o644})
	m.add(t, "bookworm", "linux-image-6.1-cloud-amd64", "6.1", "", nil,
		tarFile{"./boot/vmlinuz-6.1-cloud-amd64", "kernel", 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/modules.builtin",
			"kernel/drivers/char/hw_random/virtio-rng.ko\nkernel/drivers/block/virtio_blk.ko\n", 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/virtio_ring.ko", module("depends="), 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/virtio.ko", module("depends=virtio_ring"), 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/virtio_mmio.ko", module("depends=virtio,virtio_ring"),
			0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/virtio_console.ko", module("depends=virtio"), 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/virtio_net.ko", module("depends=net-failover"), 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/net-failover.ko",
			module("softdep=pre: early post: late"), 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/early.ko", module("license=GPL"), 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/overlay.ko", module("depends="), 0o644},
		tarFile{"./lib/modules/6.1-cloud-amd64/kernel/erofs.ko", module("depends="), 0o644})
	m.add(t, "bookworm", "linux-image-cloud-amd64", "6.1", "Depends: linux-image-6.1-cloud-amd64 (= 6.1)\n",
		nil)
	m.publish(t)
	return m
}

func (m *mirrorDouble) store(t *testing.T, dir string) *environment.Store {
	t.Helper()
	s, err := New(Options{
		Mirror: m.URL + "/debian",
		AptDir: "none",
		Keys:   openpgp.EntityList{m.key},
		Now:    now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return environment.Open(dir, s)
}

func TestPull(t *testing.T) {
	m := newArchive(t)
	s := m.store(t, t.TempDir())
	c := &configurer{}
	r, err := s.Pull(context.Background(), environment.PullRequest{Name: "debian:12-base", Configure: c})
	if err != nil {
		t.Fatal(err)
	}
	wantRoot := map[string]string{
		"bin": "->usr/bin", "usr/bin/tool": "new", "usr/bin/tl": "->tool", "usr/lib/libtool.so": "lib",
		"var/lib/dpkg/info/tool.list":           "/.\n/bin\n/bin/tool\n/bin/tl\n",
		"var/lib/dpkg/info/libtool1:amd64.list": "/.\n/lib/libtool.so\n",
		"var/lib/dpkg/triggers/File":            "/usr/share/x tool/noawait\n",
		"var/lib/dpkg/triggers/tools":           "tool\n",
		"var/lib/dpkg/info/format":              "1\n",
		"etc/hostname":                          "pyro\n",
	}
	for name, want := range wantRoot {
		if got := c.root[name]; got != want {
			t.Errorf("unconfigured, %q is %q, want %q", name, got, want)
		}
	}
	status := c.root["var/lib/dpkg/status"]
	for _, want := range []string{
		"Package: tool\nStatus: install ok unpacked\nVersion: 2\n",
		"Package: libtool1\nStatus: install ok installed\n",
		fmt.Sprintf("Conffiles:\n /etc/issue %x\n", md5.Sum([]byte("Debian\n"))),
	} {
		if !strings.Contains(status, want) {
			t.Errorf("the status lacks %q:\n%s", want, status)
		}
	}
	if want := "preinst='tool'\nconfigure='tool'\n"; !strings.HasPrefix(c.script, want) {
		t.Errorf("the script begins with %.60q", c.script)
	}
	root, err := readImage(r.Manifest.Image.Path)
	if _, there := root["etc/hostname"]; err != nil || there || root["etc/configured"] != "yes\n" ||
		root["usr/bin/tool"] != "new" {
		t.Errorf("the image is not as configured; error %v", err)
	}
	checkManifest(t, r.Manifest)
	requests := 0
	m.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		requests++
		if !strings.HasSuffix(r.URL.Path, "/InRelease") {
			t.Errorf("asked again for %s", r.URL.Path)
		}
		return false
	}
	again, err := s.Pull(context.Background(), environment.PullRequest{Name: "debian:12-base", Configure: c})
	if err != nil || again.Changed || requests != 3 {
		t.Errorf("the second pull changed %v with %d requests, error %v", again.Changed, requests, err)
	}
}

func checkManifest(t *testing.T, m environment.Manifest) {
	t.Helper()
	var names []string
	for _, p := range m.Packages {
		names = append(names, p.Name+"="+p.Version)
	}
	if want := []string{"base-files=12", "libtool1=1:1.0", "tool=2",
		"usr-is-merged=1"}; !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("the packages are %q", names)
	}
	if slices.Index(names, "libtool1=1:1.0") > slices.Index(names, "tool=2") {
		t.Errorf("a package comes before what it depends on: %q", names)
	}
	k := m.Kernel
	if want := []string{"virtio_ring", "virtio", "virtio_mmio", "virtio_console", "early", "net_failover",
		"virtio_net", "overlay", "erofs"}; !slices.Equal(k.Modules, want) ||
		k.Version != "6.1-cloud-amd64" || k.Package != "linux-image-6.1-cloud-amd64=6.1" {
		t.Errorf("the kernel is %+v", k)
	}
	if data, err := os.ReadFile(k.Path); err != nil || string(data) != "kernel" {
		t.Errorf("the kernel holds %q, error %v", data, err)
	}
}

func TestPullRefuses(t *testing.T) {
	stranger, err := openpgp.NewEntity("Stranger", "", "s@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	in := func(path, part string) bool { return strings.Contains(path, part) }
	for _, test := range []struct {
		name, want string
		change     func(m *mirrorDouble)
		fault      func(m *mirrorDouble, w http.ResponseWriter, r *http.Request) bool
	}{
		{name: "a signature by another key", want: "no signature by one of Debian's archive keys",
			change: func(m *mirrorDouble) {
				m.suites["bookworm-updates"].signer = stranger
			}},
		{name: "an expired InRelease", want: "it expired on 2030-01-08", change: func(m *mirrorDouble) {
			m.suites["bookworm-security"].until = "Valid-Until: Tue, 08 Jan 2030 00:00:00 UTC\n"
		}},
		{name: "an InRelease of the future", want: "in the future", change: func(m *mirrorDouble) {
			m.suites["bookworm"].date = now().Add(72 * time.Hour)
		}},
		{name: "another suite", want: `of the suite "trixie"`, change: func(m *mirrorDouble) {
			m.suites["bookworm"].codename = "trixie"
		}},
		{name: "a page in place of InRelease", want: "not a signed message",
			fault: func(m *mirrorDouble, w http.ResponseWriter, r *http.Request) bool {
				if !in(r.URL.Path, "InRelease") {
					return false
				}
				io.WriteString(w, "<html>log in first</html>")
				return true
			}},
		{name: "a page in place of a package", want: "web page",
			fault: func(m *mirrorDouble, w http.ResponseWriter, r *http.Request) bool {
				if !in(r.URL.Path, ".deb") {
					return false
				}
				w.Header().Set("Content-Type", "text/html")
				io.WriteString(w, "<html>log in first</html>")
				return true
			}},
		{name: "a changed InRelease", want: "no signature",
			fault: func(m *mirrorDouble, w http.ResponseWriter, r *http.Request) bool {
				if !in(r.URL.Path, "/bookworm/InRelease") {
					return false
				}
				w.Write([]byte(strings.Replace(string(m.files[r.URL.Path]), "Origin: Debian",
					"Origin: debian", 1)))
				return true
			}},
		{name: "a changed index", want: "SHA-256",
			fault: func(m *mirrorDouble, w http.ResponseWriter, r *http.Request) bool {
				return in(r.URL.Path, "by-hash") && flip(m, w, r)
			}},
		{name: "a changed package", want: "SHA-256",
			fault: func(m *mirrorDouble, w http.ResponseWriter, r *http.Request) bool {
				return in(r.URL.Path, "tool_2") && flip(m, w, r)
			}},
		{name: "what comes after the signature", want: "not a signed message",
			fault: func(m *mirrorDouble, w http.ResponseWriter, r *http.Request) bool {
				if !in(r.URL.Path, "InRelease") {
					return false
				}
				w.Write(append(m.files[r.URL.Path], "\nCodename: evil\n"...))
				return true
			}},
		{name: "a dependency that is not there",
			want: "tool (3), which depends on missing: there is no such package",
			change: func(m *mirrorDouble) {
				m.suites["bookworm"].index.WriteString(
					"Package: tool\nVersion: 3\nArchitecture: amd64\nDepends: missing\n" +
						"Filename: pool/x\nSize: 1\nSHA256: " + digestOf(nil) + "\n\n")
				m.suites["bookworm"].index.WriteString(
					"Package: needs\nEssential: yes\nVersion: 1\nArchitecture: amd64\n" +
						"Depends: tool (>= 3)\nFilename: pool/x\nSize: 1\nSHA256: " + digestOf(nil) + "\n\n")
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newArchive(t)
			if test.change != nil {
				test.change(m)
				m.publish(t)
			}
			if test.fault != nil {
				m.fault = func(w http.ResponseWriter, r *http.Request) bool { return test.fault(m, w, r) }
			}
			s := m.store(t, t.TempDir())
			_, err := s.Pull(context.Background(),
				environment.PullRequest{Name: "debian:12-base", Configure: &configurer{}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error %v, want one with %q", err, test.want)
			}
			if _, err := s.Get("debian:12-base"); !errors.Is(err, environment.ErrNotInstalled) {
				t.Errorf("the failed pull left something: %v", err)
			}
		})
	}
}

// flip answers with a file of the right length and another content.
func flip(m *mirrorDouble, w http.ResponseWriter, r *http.Request) bool {
	data := slices.Clone(m.files[r.URL.Path])
	if len(data) == 0 {
		return false
	}
	data[len(data)/2] ^= 1
	w.Write(data)
	return true
}

func TestPullRefusesAnOlderArchive(t *testing.T) {
	m := newArchive(t)
	s := m.store(t, t.TempDir())
	request := environment.PullRequest{Name: "debian:12-base", Configure: &configurer{}}
	if _, err := s.Pull(context.Background(), request); err != nil {
		t.Fatal(err)
	}
	m.suites["bookworm-security"].date = now().Add(-48 * time.Hour)
	m.publish(t)
	if _, err := s.Pull(context.Background(), request); err == nil ||
		!strings.Contains(err.Error(), "older than that of 2030-01-10 11:00 UTC seen before") {
		t.Errorf("got the error %v", err)
	}
	if _, err := s.Get("debian:12-base"); err != nil {
		t.Errorf("the refusal took the old environment away: %v", err)
	}
}

func TestPullSaysWhyConfiguringFailed(t *testing.T) {
	m := newArchive(t)
	s := m.store(t, t.TempDir())
	_, err := s.Pull(context.Background(), environment.PullRequest{Name: "debian:12-base",
		Configure: &configurer{err: errors.New("exit status 1")}})
	if err == nil || !strings.Contains(err.Error(),
		"exit status 1; its last words: Setting up tool (2) ... / it says something") {
		t.Errorf("got the error %v", err)
	}
}
