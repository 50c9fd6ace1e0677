package template

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// freeze fills a draft in as a VMM would.
func freeze(_ context.Context, d Draft) error {
	_, err := d.State.WriteString("the devices' state")
	return errors.Join(err, os.WriteFile(d.Memory, make([]byte, 64<<10), 0o600),
		os.WriteFile(d.Scratch, make([]byte, 8<<10), 0o600))
}

// made gives a store with the template of a key in it.
func made(t *testing.T, keys ...Key) *Store {
	t.Helper()
	s := Open(t.TempDir())
	for _, key := range keys {
		if n, err := s.Make(t.Context(), key, How{}, freeze); err != nil || n <= 0 {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	return s
}

func TestATemplateIsFoundByItsWholeKey(t *testing.T) {
	key := Key{Image: "a", VCPUs: 1, MemMiB: 1024}
	s := made(t, key)
	found := s.Find(key)
	if found == nil {
		t.Fatal("it is not found")
	}
	if err := found.Close(); err != nil {
		t.Error(err)
	}
	for _, other := range []Key{{Image: "b", VCPUs: 1, MemMiB: 1024}, {Image: "a", VCPUs: 2, MemMiB: 1024},
		{
			Image:   "a",
			VCPUs:   1,
			MemMiB:  1024,
			Network: true,
		}, {
			Image:  "a",
			VCPUs:  1,
			MemMiB: 1024,
			VMM:    "x",
		}} {
		if s.Find(other) != nil {
			t.Errorf("%+v is found", other)
		}
	}
}

// A template that is damaged in any of its parts is thrown away, and can be made again.
func TestADamagedTemplateIsThrownAway(t *testing.T) {
	write := func(data string) func(string) error {
		return func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte(data), 0o600))
		}
	}
	shorten := func(path string) error { return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 100)) }
	hollow := func(path string) error {
		return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 0), os.Truncate(path, 64<<10))
	}
	foreign, err := json.Marshal(meta{Key: Key{Image: "another"}})
	if err != nil {
		t.Fatal(err)
	}
	touch := func(path string) error { // what it says is the same
		data, err := os.ReadFile(path)
		return errors.Join(err, os.Chmod(path, 0o600), os.WriteFile(path, data, 0o600))
	}
	backdate := func(path string) error {
		info, err := os.Stat(path)
		return errors.Join(err, os.Chmod(path, 0o600), overwrite(path, "changed"),
			os.Chtimes(path, info.ModTime(), info.ModTime()))
	}
	for name, c := range map[string]struct {
		file   string
		damage func(string) error
	}{
		"memory cut short":      {memoryFile, shorten},
		"memory with holes":     {memoryFile, hollow},
		"memory missing":        {memoryFile, os.Remove},
		"memory changed":        {memoryFile, func(path string) error { return overwrite(path, "changed") }},
		"memory written anew":   {memoryFile, touch},
		"disk backdated":        {scratchFile, backdate},
		"another state":         {stateFile, write("the devices' State")},
		"state missing":         {stateFile, os.Remove},
		"disk cut short":        {scratchFile, shorten},
		"disk missing":          {scratchFile, os.Remove},
		"description missing":   {metaFile, os.Remove},
		"description cut short": {metaFile, write(`{"key":`)},
		"description of others": {metaFile, write(string(foreign))},
	} {
		t.Run(name, func(t *testing.T) {
			key := Key{Image: "a"}
			s := made(t, key)
			dir := filepath.Join(s.dir, key.Name())
			tick(t, filepath.Join(dir, memoryFile))
			if err := c.damage(filepath.Join(dir, c.file)); err != nil {
				t.Fatal(err)
			}
			if s.Find(key) != nil {
				t.Fatal("it is found")
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("it is not thrown away")
			}
			if _, err := s.Make(t.Context(), key, How{}, freeze); err != nil || s.Find(key) == nil {
				t.Errorf("it cannot be made again: %v", err)
			}
		})
	}
}

// A shared template can be read by others, who copy it if their tasks are to rest on it.
func TestASharedTemplateIsAdopted(t *testing.T) {
	key := Key{Image: "a"}
	shared, own := Open(t.TempDir()), Open(t.TempDir())
	if _, err := shared.Make(t.Context(), key, How{Shared: true}, freeze); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", key.Name(), key.Name() + "/" + memoryFile, key.Name() + "/" + stateFile,
		key.Name() + "/" + scratchFile, key.Name() + "/" + metaFile, key.Name() + "/" + lockFile} {
		info, err := os.Stat(filepath.Join(shared.dir, path))
		if err != nil || info.Mode()&0o044 != 0o044 || info.Mode()&0o022 != 0 {
			t.Errorf("%q: %v, %v", path, info.Mode(), err)
		}
	}
	theirs := shared.Find(key)
	if theirs == nil {
		t.Fatal("it is not found")
	}
	defer theirs.Close()
	for range 2 { // The second time it is there.
		mine, err := own.Adopt(t.Context(), key, theirs)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(filepath.Dir(mine.Memory)) != own.dir || mine.Close() != nil {
			t.Errorf("the copy is %q", mine.Memory)
		}
	}
}

// tick waits until the host's file times have moved on from a file's: older kernels count them in steps of
// some ms.
func tick(t *testing.T, path string) {
	t.Helper()
	then, err := stampOf(path)
	if err != nil {
		t.Fatal(err)
	}
	probe := filepath.Join(t.TempDir(), "probe")
	for now := then; now.Changed <= then.Changed; {
		if err := os.WriteFile(probe, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if now, err = stampOf(probe); err != nil {
			t.Fatal(err)
		}
	}
}

// overwrite changes a file's first bytes.
func overwrite(path, with string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(with)
	return errors.Join(err, f.Close())
}

// A template that does not come up goes at once, though clones hold it, the one included that found that out.
func TestATemplateIsDiscardedWhileItIsHeld(t *testing.T) {
	key := Key{Image: "a"}
	s := made(t, key)
	mine, other := s.Find(key), s.Find(key)
	if mine == nil || other == nil {
		t.Fatal("it is not found")
	}
	defer mine.Close()
	defer other.Close()
	if err := mine.Discard(); err != nil {
		t.Error(err)
	}
	if s.Find(key) != nil {
		t.Error("it is still found")
	}
	if err := other.Discard(); err != nil {
		t.Errorf("the second to discard it: %v", err)
	}
	if _, err := s.Make(t.Context(), key, How{}, freeze); err != nil || s.Find(key) == nil {
		t.Errorf("it cannot be made again: %v", err)
	}
}

func TestOneMakerAtATime(t *testing.T) {
	s, key := Open(t.TempDir()), Key{Image: "a"}
	_, err := s.Make(t.Context(), key, How{}, func(ctx context.Context, d Draft) error {
		if _, err := s.Make(ctx, key, How{}, freeze); !errors.Is(err, ErrBusy) {
			t.Errorf("a second maker: %v", err)
		}
		if s.Find(key) != nil {
			t.Error("half a template is found")
		}
		if _, err := s.Prune(func(Key) bool { return false }, 0); err != nil {
			t.Error(err)
		}
		return freeze(ctx, d) // into a draft that the prune has left alone
	})
	if err != nil || s.Find(key) == nil {
		t.Errorf("it is not made: %v", err)
	}
}

// Who needs the template waits for the one who makes it already.
func TestAMakerWaitsForAnother(t *testing.T) {
	s, key := Open(t.TempDir()), Key{Image: "a"}
	begun, waited := make(chan struct{}), make(chan error)
	go func() {
		<-begun
		_, err := s.Make(t.Context(), key, How{Wait: true}, func(context.Context, Draft) error {
			return errors.New("it was made twice")
		})
		waited <- err
	}()
	_, err := s.Make(t.Context(), key, How{}, func(ctx context.Context, d Draft) error {
		close(begun)
		return freeze(ctx, d)
	})
	if err := errors.Join(err, <-waited); err != nil {
		t.Error(err)
	}
	// It does not wait longer than it may.
	_, err = s.Make(t.Context(), Key{Image: "b"}, How{}, func(ctx context.Context, _ Draft) error {
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := s.Make(short, Key{Image: "b"}, How{Wait: true}, freeze)
		return err
	})
	if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for oneself: %v", err)
	}
}

func TestAFailedMakerLeavesNothing(t *testing.T) {
	s, broken := Open(t.TempDir()), errors.New("broken")
	_, err := s.Make(t.Context(), Key{}, How{}, func(ctx context.Context, d Draft) error {
		return errors.Join(freeze(ctx, d), broken)
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// What a killed maker left goes at the next prune.
func TestADraftWithoutAMakerIsPruned(t *testing.T) {
	s, key := made(t), Key{Image: "a"}
	draft := filepath.Join(s.dir, key.Name()+".tmp")
	if err := os.MkdirAll(draft, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(func(Key) bool { return true }, DefaultLimit); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// The least recently used go first, and one that a clone starts from does not go at all.
func TestPrune(t *testing.T) {
	keys := []Key{{Image: "used"}, {Image: "old"}, {Image: "new"}}
	s := made(t, keys...)
	for i, age := range []time.Duration{3 * time.Hour, 2 * time.Hour, time.Hour} {
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(s.dir, keys[i].Name()), at, at); err != nil {
			t.Fatal(err)
		}
	}
	size := usage(filepath.Join(s.dir, keys[0].Name()))
	would, err := s.WouldPrune(func(Key) bool { return true }, 2*size)
	if err != nil || len(would) != 1 || would[0].Name != keys[0].Name() || would[0].Freed != size {
		t.Errorf("would remove %+v, %v", would, err)
	}
	removed, err := s.Prune(func(Key) bool { return true }, 2*size)
	if err != nil || len(removed) != 1 || removed[0].Name != keys[0].Name() || removed[0].Freed != size {
		t.Errorf("removed %+v, %v", removed, err)
	}
	inUse := s.Find(keys[1])
	if inUse == nil {
		t.Fatal("the second is not found")
	}
	removed, err = s.Prune(func(Key) bool { return false }, 0)
	if err != nil || len(removed) != 1 || removed[0].Name != keys[2].Name() {
		t.Errorf("removed %+v, %v", removed, err)
	}
	if _, err := os.Stat(inUse.Memory); err != nil {
		t.Errorf("one in use was removed: %v", err)
	}
	if err := inUse.Close(); err != nil {
		t.Error(err)
	}
	if removed, err = s.Prune(func(Key) bool { return false }, 0); err != nil || len(removed) != 1 {
		t.Errorf("removed %+v, %v", removed, err)
	}
}

func TestCloneDisk(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := errors.Join(os.WriteFile(from, []byte("begin"), 0o600), os.Truncate(from, 8<<20)); err != nil {
		t.Fatal(err)
	}
	// What a killed maker left is no obstacle.
	if err := os.WriteFile(to+".part", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CloneDisk(from, to); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(to)
	if err != nil || len(data) != 8<<20 || string(data[:5]) != "begin" {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if err := CloneDisk(filepath.Join(dir, "none"), filepath.Join(dir, "other")); err == nil {
		t.Error("nothing was cloned")
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}
