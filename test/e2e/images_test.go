package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pyro-mcp/pyro"
)

// imageEngine gives an engine with a cache of its own, which has the shared one's debian:12 for its kernel
// and packages.
func imageEngine(t *testing.T) (*pyro.Pyro, pyro.EnvironmentManifest) {
	t.Helper()
	installed(t)
	shared, err := pyro.New(pyro.WithCacheDir(cacheDir(t)))
	if err != nil {
		t.Fatal(err)
	}
	debian, err := shared.InspectEnvironment(t.Context(), pyro.EnvironmentRequest{Environment: "debian:12"})
	if err != nil {
		t.Fatal(err)
	}
	cache, state := t.TempDir(), t.TempDir()
	for _, class := range []string{"kernels", "initrds"} {
		if err := os.Symlink(filepath.Join(cacheDir(t), class), filepath.Join(cache, class)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"kvm.json", "qemu.json", "environments/debian:12.json",
		"images/" + debian.ImageSHA256} {
		to := filepath.Join(cache, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755),
			os.Symlink(filepath.Join(cacheDir(t), name), to)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := pyro.New(pyro.WithCacheDir(cache), pyro.WithStateDir(state))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		// Templates are still being made by supervisors of their own.
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(
			50 * time.Millisecond) {
			if left, _ := filepath.Glob(filepath.Join(state, "vms", "*-*")); len(left) == 0 {
				return
			}
		}
		t.Error("a VM outlived its test")
	})
	return p, debian
}

type entry struct {
	tar.Header
	body []byte
}

func packed(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Typeflag == 0 {
			e.Typeflag, e.Size = tar.TypeReg, int64(len(e.body))
		}
		if e.Mode == 0 {
			e.Mode = 0o755
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name string, body []byte) entry { return entry{tar.Header{Name: name}, body} }

func symlink(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}, nil}
}

func hardlink(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, nil}
}

// runConfig is the part of an image's configuration that counts when it is run.
type runConfig struct {
	Env             []string
	User            string
	WorkingDir      string
	Entrypoint, Cmd []string
}

// image writes layers as an archive like docker save's, compressed in turn in each of the ways there are.
func image(t *testing.T, config runConfig, layers ...[]byte) string {
	t.Helper()
	var ids []string
	var names []string
	var entries []entry
	for i, plain := range layers {
		sum := sha256.Sum256(plain)
		ids = append(ids, "sha256:"+hex.EncodeToString(sum[:]))
		var b bytes.Buffer
		switch i % 3 {
		case 0:
			z := gzip.NewWriter(&b)
			_, err := z.Write(plain)
			if err := errors.Join(err, z.Close()); err != nil {
				t.Fatal(err)
			}
		case 1:
			z, err := zstd.NewWriter(&b)
			if err == nil {
				_, err = z.Write(plain)
			}
			if err := errors.Join(err, z.Close()); err != nil {
				t.Fatal(err)
			}
		default:
			b.Write(plain)
		}
		names = append(names, fmt.Sprintf("layer%d", i))
		entries = append(entries, file(names[i], b.Bytes()))
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	description := encode(map[string]any{"architecture": "amd64", "os": "linux", "config": config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
	manifest := encode([]any{map[string]any{"Config": "config.json", "RepoTags": []string{},
		"Layers": names}})
	path := filepath.Join(t.TempDir(), "image.tar")
	entries = append(entries, file("config.json", description), file("manifest.json", manifest))
	if err := os.WriteFile(path, packed(t, entries...), 0o644); err != nil {
		t.Fatal(err)
	}
	return "docker-archive:" + path
}

// glibcRoot is a root of Debian's packages, each a layer.
func glibcRoot(t *testing.T, debian pyro.EnvironmentManifest) (layers [][]byte) {
	t.Helper()
	wanted := []string{"base-files", "libc6", "libacl1", "libattr1", "libselinux1", "libpcre2-8-0",
		"libgmp10", "coreutils", "dash"}
	for _, pkg := range debian.Packages {
		if !slices.Contains(wanted, pkg.Name) {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--fsys-tarfile",
			filepath.Join(cacheDir(t), "packages", pkg.SHA256+".deb")).Output()
		if err != nil {
			t.Fatalf("cannot unpack %s: %v", pkg.Name, err)
		}
		layers = append(layers, out)
	}
	if len(layers) != len(wanted) {
		t.Fatalf("debian:12 has %d of the packages %q", len(layers), wanted)
	}
	users := file("etc/passwd", []byte("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"))
	groups := file("etc/group", []byte("root:x:0:\napp:x:1001:\nextra:x:50:app\n"))
	return append(layers, packed(t, users, groups,
		entry{tar.Header{Name: "etc/profile"}, []byte("PATH=/usr/bin:/bin\n")}))
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("the tests need %q (tools/setup test installs it): %v", path, err)
	}
	return data
}

// TestImages runs images of several families as docker run would.
func TestImages(t *testing.T) {
	p, debian := imageEngine(t)
	busybox := read(t, "/bin/busybox")
	musl := read(t, "/lib/x86_64-linux-musl/libc.so")
	const interpreter = "lib/ld-musl-x86_64.so.1"
	own := "id -un; id -Gn; pwd; echo $PATH $WORD $HOME; stat -c %U:%a . /tmp; echo >/dev/null"
	glibc := image(t, runConfig{
		Env:        []string{"PATH=/app/bin:/usr/bin:/bin", "WORD=hello"},
		User:       "app",
		WorkingDir: "/srv/app",
		Entrypoint: []string{"/bin/sh", "-c"},
		Cmd:        []string{own},
	}, glibcRoot(t, debian)...)
	for _, test := range []struct {
		name, image string
		line        pyro.CommandLine
		want        string
	}{
		{"a glibc root, its own command", glibc, pyro.CommandLine{},
			`^app\napp extra\n/srv/app\n/app/bin:/usr/bin:/bin hello /home/app\napp:755\nroot:1777\n$`},
		{"busybox and musl, no passwd", image(t, runConfig{Env: []string{"PATH=/bin"}, User: "1000:7"},
			packed(t, file("bin/busybox", busybox), symlink("bin/sh", "busybox"),
				hardlink("bin/id", "bin/busybox")),
			packed(t, hardlink("bin/ls", "bin/id"), file(interpreter, musl))),
			pyro.CommandLine{Argv: []string{"sh", "-c", "id -u; id -g; pwd; touch /tmp/x && echo touched; /" +
				interpreter + " 2>&1; true"}},
			`^1000\n7\n/\ntouched\nmusl libc \(x86_64\)\n`},
		{"a workspace of its own", image(t, runConfig{Env: []string{"PATH=/bin"}, WorkingDir: "/workspace"},
			packed(t, file("bin/busybox", busybox), symlink("bin/sh", "busybox"),
				file("workspace/brought", []byte("along\n")))),
			pyro.CommandLine{Argv: []string{"sh", "-c",
				"/bin/busybox cat brought; /bin/busybox touch new && /bin/busybox ls"}},
			`^along\nbrought\nnew\n$`},
		{"one static program", image(t, runConfig{Entrypoint: []string{"/busybox"}},
			packed(t, file("busybox", busybox))),
			pyro.CommandLine{Argv: []string{"ls", "-d", "/tmp", "/proc/self/exe", "/dev/null", "/etc/hosts",
				"/run", "/busybox"}},
			`^/busybox\n/dev/null\n/etc/hosts\n/proc/self/exe\n/run\n/tmp\n$`},
		{"a root that is in the way", image(t, runConfig{Entrypoint: []string{"/busybox"}},
			packed(t, file("busybox", busybox),
				file("proc", nil), symlink("dev", "nowhere"), symlink("tmp", "var/tmp"),
				symlink("run", "var/run"), symlink("var/run", "/run"),
				entry{tar.Header{Name: "etc/hosts/x/", Typeflag: tar.TypeDir}, nil},
				symlink("etc/resolv.conf", "/run/nowhere"), symlink("sys", "/busybox"))),
			pyro.CommandLine{Argv: []string{"sh", "-c",
				"/busybox touch /tmp/x /run/y && /busybox cat /etc/hosts && /busybox test -e /proc/self " +
					"-a -c /dev/null && echo whole"}},
			`localhost\n(.*\n)*whole\n$`},
		{"links from where the kernel's file systems are to what is the image's",
			image(t, runConfig{Entrypoint: []string{"/busybox"}}, packed(t,
				file("busybox", busybox), file("conf/passwd", []byte("me:x:0:0::/root:/busybox\n")),
				file("tmp", nil),
				symlink("etc", "conf"), symlink("proc", "/etc"), symlink("dev", "/tmp"),
				symlink("sys", "/etc"))),
			pyro.CommandLine{Argv: []string{"sh", "-c",
				"/busybox id -un && /busybox test -e /proc/self -a -c /dev/null -a -d /tmp && echo whole"}},
			`^me\nwhole\n$`},
		{"tables that never end", image(t, runConfig{Entrypoint: []string{"/busybox"}, User: "7:8"},
			packed(t, file("busybox", busybox),
				symlink("root", "/proc"), entry{tar.Header{Name: "etc/passwd", Typeflag: tar.TypeFifo}, nil},
				symlink("etc/group", "/dev/zero"),
				entry{tar.Header{Name: "etc/hostname", Typeflag: tar.TypeFifo}, nil},
				entry{tar.Header{Name: "etc/resolv.conf", Typeflag: tar.TypeFifo}, nil})),
			// Its own id would wait for the FIFO.
			pyro.CommandLine{Argv: []string{"grep", "-E", "^(Uid|Gid)", "/proc/self/status"}},
			`^Uid:\t7\t.*\nGid:\t8\t`},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.line.TimeoutSeconds = new(90)
			got, err := p.RunInVM(t.Context(),
				pyro.RunInVMRequest{Shape: pyro.Shape{Environment: test.image}, CommandLine: test.line})
			if err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(test.want).MatchString(got.Stdout) || got.ExitCode != 0 {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %q", got.ExitCode, got.Stdout, got.Stderr,
					test.want)
			}
		})
	}
	t.Run("on the host", func(t *testing.T) {
		made := filepath.Join(t.TempDir(), "made")
		program, err := exec.LookPath("pyro")
		if err != nil {
			t.Fatal(err)
		}
		where := p.Options()
		cmd := exec.CommandContext(t.Context(), program, "run",
			image(t, runConfig{WorkingDir: made, Entrypoint: []string{"/bin/echo"}}, packed(t)),
			"--allow-host-compat", "--", "word")
		cmd.Env = []string{"PATH=/nonexistent", "HOME=" + t.TempDir(), "PYRO_CACHE_DIR=" + where.CacheDir,
			"PYRO_STATE_DIR=" + where.StateDir}
		out, err := cmd.Output()
		if _, gone := os.Stat(made); err != nil || string(out) != "word\n" || gone == nil {
			t.Errorf("%q, %v; the image's directory on the host: %v", out, err, gone)
		}
	})
	t.Run("a task", func(t *testing.T) {
		task, err := p.CreateTask(t.Context(), pyro.CreateTaskRequest{Shape: pyro.Shape{Environment: glibc}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.DeleteTask(t.Context(), pyro.TaskRequest{TaskID: task.TaskID})
		got, err := p.ExecTask(t.Context(),
			pyro.ExecTaskRequest{TaskID: task.TaskID, CommandLine: pyro.CommandLine{
				Command: "pwd; touch a; stat -c %U a; echo $PATH", TimeoutSeconds: new(90)}})
		if want := "/workspace\napp\n/app/bin:/usr/bin:/bin\n"; err != nil || got.Stdout != want ||
			got.CWD != "/workspace" {
			t.Errorf("got %+v, %v, want %q", got, err, want)
		}
	})
}
