package environment

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// flip changes one byte of a file in its middle.
func flip(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], info.Size()/2); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], info.Size()/2); err != nil {
		t.Fatal(err)
	}
}

func installed(t *testing.T) (*Store, Manifest, string) {
	t.Helper()
	s := Open(t.TempDir(), &maker{state: "one"})
	r, err := s.Pull(t.Context(), PullRequest{Name: "demo:1"})
	if err != nil {
		t.Fatal(err)
	}
	return s, r.Manifest, initrd(t, s, r.Manifest)
}

func initrd(t *testing.T, s *Store, m Manifest) string {
	t.Helper()
	path, err := s.Initrd(t.Context(), m.Kernel,
		Agent{"digest", func() ([]byte, error) { return []byte("agent"), nil }}, "")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// What is damaged is found by Verify, and made again in its place by the next pull.
func TestDamageIsFoundAndRepaired(t *testing.T) {
	for name, of := range map[string]struct {
		path     func(m Manifest, initrd string) string
		repaired bool
	}{
		"image":     {func(m Manifest, _ string) string { return m.Image.Path }, true},
		"kernel":    {func(m Manifest, _ string) string { return m.Kernel.Path }, true},
		"module":    {func(m Manifest, _ string) string { return m.Kernel.ModulesDir + "/a.ko" }, true},
		"initramfs": {func(_ Manifest, initrd string) string { return initrd }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, m, rd := installed(t)
			if err := s.Use(m.Image.SHA256, m.Kernel.Path, t.TempDir()); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(t.Context(), "demo:1"); err != nil {
				t.Fatalf("before: %v", err)
			}
			path := of.path(m, rd)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, force := range []bool{false, true} {
				flip(t, path)
				if !force {
					var damaged *DamagedError
					err := s.Verify(t.Context(), "demo:1")
					if !errors.As(err, &damaged) || damaged.What != name {
						t.Errorf("verified: %v", err)
					}
				}
				r, err := s.Pull(t.Context(), PullRequest{Name: "demo:1", Force: force})
				if err != nil || !force && r.Repaired != of.repaired {
					t.Errorf("pulled: repaired %v, %v", r.Repaired, err)
				}
				if err := s.Verify(t.Context(), "demo:1"); err != nil {
					t.Errorf("after the pull: %v", err)
				}
				initrd(t, s, r.Manifest)
				if after, err := os.ReadFile(path); err != nil || !slices.Equal(after, before) {
					t.Errorf("forced %v: the file is not what it was, %v", force, err)
				}
			}
			if !used(filepath.Dir(m.Kernel.Path)) || !used(filepath.Dir(m.Image.Path)) {
				t.Error("who uses it is forgotten")
			}
		})
	}
}

// An image stays as long as a VM's directory is there that was recorded beside it, whoever's the state
// directory.
func TestUsersKeepAnImage(t *testing.T) {
	m := &maker{state: "one"}
	s := Open(t.TempDir(), m)
	first, err := s.Pull(t.Context(), PullRequest{Name: "demo:1"})
	if err != nil {
		t.Fatal(err)
	}
	vm := filepath.Join(t.TempDir(), "task-0123456789ab")
	if err := os.Mkdir(vm, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Use(first.Manifest.Image.SHA256, first.Manifest.Kernel.Path, vm); err != nil {
		t.Fatal(err)
	}
	rd := initrd(t, s, first.Manifest)
	m.state = "two"
	if _, err := s.Pull(t.Context(), PullRequest{Name: "demo:1"}); err != nil {
		t.Fatal(err)
	}
	all := []string{first.Manifest.Image.Path, first.Manifest.Kernel.Path, rd}
	for _, whole := range []bool{false, true} {
		if _, err := s.Prune(t.Context(), PruneRequest{All: whole}); err != nil {
			t.Fatal(err)
		}
		for _, path := range all {
			if !exists(path) {
				t.Errorf("all %v: %s is gone", whole, path)
			}
		}
	}
	unread := errors.New("cannot be read")
	fails := func() ([]string, error) { return nil, unread }
	if _, err := s.Prune(t.Context(), PruneRequest{InUse: fails}); !errors.Is(err, unread) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(vm); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(t.Context(), PruneRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if exists(path) {
			t.Errorf("%s is there still", path)
		}
	}
}

// The records of VMs that are gone do not pile up.
func TestUsersAreForgotten(t *testing.T) {
	s, m, _ := installed(t)
	for range 3 * crowd {
		dir := t.TempDir()
		if err := errors.Join(s.Use(m.Image.SHA256, m.Kernel.Path, dir), os.Remove(dir)); err != nil {
			t.Fatal(err)
		}
	}
	names, err := os.ReadDir(filepath.Join(filepath.Dir(m.Image.Path), usersDir))
	if err != nil || len(names) > crowd+1 {
		t.Errorf("%d records, %v", len(names), err)
	}
}

// One manifest that cannot be read is in the way of no other.
func TestADamagedManifestAmongOthers(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"no JSON": func(path string) error { return os.WriteFile(path, []byte(`{"image": `), 0o644) },
		"a path that leads out": func(path string) error {
			return os.WriteFile(path, []byte(`{"format":1,"image":{"path":"../../etc/passwd"}}`), 0o644)
		},
		"a FIFO":      func(path string) error { return unix.Mkfifo(path, 0o644) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := installed(t)
			if err := spoil(s.manifestPath("demo:1-big")); err != nil {
				t.Fatal(err)
			}
			list, err := s.List()
			if err != nil || len(list) != 2 || !list[0].Installed || list[1].Installed ||
				list[1].Problem == "" {
				t.Errorf("listed %+v, %v", list, err)
			}
			if _, err := s.Prune(t.Context(), PruneRequest{}); err != nil {
				t.Error(err)
			}
			if list, err = s.List(); err != nil || list[1].Problem != "" || !list[0].Installed {
				t.Errorf("after pruning: %+v, %v", list, err)
			}
		})
	}
}

// What a newer pyro keeps is not touched.
func TestANewerManifest(t *testing.T) {
	s, m, _ := installed(t)
	path := s.manifestPath("demo:1")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(data), `"format": 1`, `"format": 2`, 1)
	if newer == string(data) {
		t.Fatalf("no format in %s", data)
	}
	if err := os.WriteFile(path, []byte(newer), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("demo:1"); !errors.Is(err, ErrNewer) {
		t.Errorf("got: %v", err)
	}
	if _, err := s.Pull(t.Context(), PullRequest{Name: "demo:1"}); !errors.Is(err, ErrNewer) {
		t.Errorf("pulled: %v", err)
	}
	if _, err := s.Prune(t.Context(), PruneRequest{}); !errors.Is(err, ErrNewer) || !exists(m.Image.Path) {
		t.Errorf("pruned: %v", err)
	}
}

// A store that another user keeps can be used by those who may only read it.
func TestAStoreToReadOnly(t *testing.T) {
	const nobody = 65534
	s, m, rd := installed(t)
	readOnly(t, s.dir)
	asUser(t, nobody, func() error {
		release, err := s.Hold(context.Background())
		if err != nil {
			return err
		}
		defer release()
		got, err := s.Get("demo:1")
		if err == nil && got.Image.SHA256 != m.Image.SHA256 {
			err = errors.New("another image")
		}
		path, errInitrd := s.Initrd(context.Background(), m.Kernel, Agent{SHA256: "digest"}, "")
		if path != rd {
			err = errors.Join(err, errors.New("another initramfs"))
		}
		return errors.Join(err, errInitrd, s.Use(m.Image.SHA256, m.Kernel.Path, "/somewhere"))
	})
	spare := t.TempDir()
	err := errors.Join(os.Chmod(filepath.Dir(rd), 0o755), os.Remove(rd), os.Chmod(filepath.Dir(rd), 0o555))
	if os.Getuid() == 0 {
		err = errors.Join(err, os.Chown(spare, nobody, nobody))
	}
	if err != nil {
		t.Fatal(err)
	}
	asUser(t, nobody, func() error {
		agent := Agent{"digest", func() ([]byte, error) { return []byte("agent"), nil }}
		path, err := s.Initrd(context.Background(), m.Kernel, agent, spare)
		if filepath.Dir(filepath.Dir(path)) != spare {
			err = errors.Join(err, errors.New("not in its own place"))
		}
		return err
	})
}
