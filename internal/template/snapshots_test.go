package template

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// snapshot makes one whose disk has a text, over a base that it shares.
func snapshot(t *testing.T, s *Snapshots, name, base string) Snapshot {
	t.Helper()
	made := Snapshot{Name: name, Source: "task-1", Memory: true}
	snap, err := s.Make(made, func(dir string, _ *Snapshot) error {
		p := PartsIn(dir)
		return errors.Join(os.Link(base, p.Base), os.WriteFile(p.Pages, []byte("pages"), 0o600),
			os.WriteFile(p.State, []byte("state"), 0o600), os.WriteFile(p.Scratch, []byte(name), 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSnapshotsAreTheirOwn deletes what snapshots and guests rest on, in any order.
func TestSnapshotsAreTheirOwn(t *testing.T) {
	s, base, vm := OpenSnapshots(t.TempDir()), file(t, "base"), t.TempDir()
	first, second := snapshot(t, s, "first", base), snapshot(t, s, "second", base)
	if newest, err := s.Newest("task-1"); err != nil || newest.ID != second.ID {
		t.Errorf("the newest is %q, %v", newest.ID, err)
	}
	if err := second.Keep(vm); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(base); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Delete("second"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(first.ID); err != nil || got.Sizes().Own == 0 {
		t.Errorf("the other snapshot: %+v, %v", got, err)
	}
	kept, err := FindKept(vm)
	if err != nil || kept == nil || !kept.Memory {
		t.Fatalf("the VM goes on from %+v, %v", kept, err)
	}
	for path, want := range map[string]string{kept.Parts().Base: "base", kept.Parts().Scratch: "second"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s has %q, %v", path, got, err)
		}
	}
	disk := filepath.Join(vm, "disk")
	if err := errors.Join(kept.TakeDisk(disk), kept.TakeDisk(disk), kept.Drop()); err != nil {
		t.Fatal(err)
	}
	if kept, err := FindKept(vm); kept != nil || err != nil {
		t.Errorf("there still is %+v, %v", kept, err)
	}
	if _, err := s.Get("second"); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("a deleted snapshot: %v", err)
	}
}

// TestSnapshotNames refuses names that are taken, or are none.
func TestSnapshotNames(t *testing.T) {
	s, base := OpenSnapshots(t.TempDir()), file(t, "base")
	snapshot(t, s, "name", base)
	nothing := func(string, *Snapshot) error { return nil }
	if _, err := s.Make(Snapshot{Name: "name"}, nothing); !errors.Is(err, ErrNameTaken) {
		t.Errorf("a name for the second time: %v", err)
	}
	for _, bad := range []string{"..", "a/b", "A", "snap-1", "task-1", "-a"} {
		if _, err := s.Make(Snapshot{Name: bad}, nothing); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if all, err := s.List(); err != nil || len(all) != 1 {
		t.Errorf("there are %d snapshots, %v", len(all), err)
	}
}

// TestBrokenOff leaves nothing of a snapshot that cannot be filled, and sweeps what a killed maker left,
// but not what is being made.
func TestBrokenOff(t *testing.T) {
	s, full := OpenSnapshots(t.TempDir()), errors.New("full")
	if _, err := s.Make(Snapshot{}, func(string, *Snapshot) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	_, err := s.Make(Snapshot{}, func(dir string, _ *Snapshot) error {
		for _, left := range []string{"snap-000000000000.gone", "snap-000000000001.tmp"} {
			path := filepath.Join(s.dir, left)
			err := errors.Join(os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, lockFile), nil, 0o600))
			if err != nil {
				return err
			}
		}
		swept, err := s.Sweep()
		if len(swept) != 2 {
			t.Errorf("swept %q", swept)
		}
		_, gone := os.Stat(dir)
		return errors.Join(err, gone)
	})
	if err != nil {
		t.Fatal(err)
	}
}
