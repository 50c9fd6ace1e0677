package record

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// holderVariable has the test binary make a VM in a root, and hold it until its input ends.
const holderVariable = "PYRO_RECORD_TEST_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(holderVariable); root != "" {
		id, lock, err := NewRoot(root).Create(KindTask, 4, func(string) bool { return true })
		if limit := (*LimitError)(nil); errors.As(err, &limit) {
			fmt.Println("limit")
			os.Exit(0)
		}
		fmt.Println(id, err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		lock.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holder is a process that wants a VM of a root; said is what came of it.
func holder(t *testing.T, root string) (said string, end func()) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderVariable+"="+root)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Error(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = fmt.Fscan(out, &said)
	}
	if err != nil {
		t.Error(err)
	}
	return said, func() { in.Close(); _ = cmd.Wait() }
}

// However many processes want a VM at once, as many as allowed get one.
func TestTheLimitHoldsAcrossProcesses(t *testing.T) {
	root := t.TempDir()
	var mu sync.Mutex
	var ids []string
	var ends []func()
	var work sync.WaitGroup
	for range 12 {
		work.Go(func() {
			said, end := holder(t, root)
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, end)
			if said != "limit" {
				ids = append(ids, said)
			}
		})
	}
	work.Wait()
	if len(ids) != 4 {
		t.Errorf("%d were made, want 4: %q", len(ids), ids)
	}
	r := NewRoot(root)
	for _, id := range ids {
		if r.Gone(id) {
			t.Errorf("%q lives and is taken for dead", id)
		}
		if _, err := TryLock(r.Path(id)); !errors.Is(err, ErrLocked) {
			t.Errorf("the lock of %q: %v", id, err)
		}
	}
	for _, end := range ends {
		end()
	}
	for _, id := range ids {
		if !r.Gone(id) {
			t.Errorf("%q is dead and is taken for alive", id)
		}
	}
	if _, lock, err := r.Create(KindTask, 4, func(string) bool { return true }); err != nil {
		t.Errorf("the dead count: %v", err)
	} else {
		lock.Close()
	}
}

func TestReviveAndSweep(t *testing.T) {
	r, all := NewRoot(t.TempDir()), func(string) bool { return true }
	id, lock, err := r.Create(KindTask, 1, all)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Revive(id, 1, all); !errors.Is(err, ErrLocked) {
		t.Errorf("one that lives: %v", err)
	}
	if swept, err := r.Sweep(all); err != nil || len(swept) != 0 {
		t.Errorf("swept %q, %v", swept, err)
	}
	lock.Close()
	if lock, err = r.Revive(id, 1, all); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if swept, err := r.Sweep(all); err != nil || len(swept) != 1 || r.Exists(id) {
		t.Errorf("swept %q, %v", swept, err)
	}
	if _, err := TryLock(r.Path(id)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock of what is gone: %v", err)
	}
}

// The record goes before anything else does, so that a removal that is broken off leaves nothing that looks
// whole.
func TestRemoveBeginsWithTheRecord(t *testing.T) {
	r := NewRoot(t.TempDir())
	id, lock, err := r.Create(KindTask, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	dir := r.Path(id)
	obstacle := filepath.Join(dir, VMFile, "inside")
	if err := errors.Join(os.MkdirAll(obstacle, 0o700),
		os.WriteFile(filepath.Join(dir, ScratchFile), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(id); err == nil {
		t.Error("the record could not be removed, and that is not told")
	}
	if _, err := os.Stat(filepath.Join(dir, ScratchFile)); err != nil {
		t.Errorf("the disk went before the record: %v", err)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(id); err != nil || r.Exists(id) {
		t.Errorf("it is not removed: %v", err)
	}
	if err := r.Remove(id); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestLoad(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want error
	}{
		"cut short": {`{"format": 1, "id": "ta`, io.ErrUnexpectedEOF},
		"empty":     {"", io.ErrUnexpectedEOF},
		"newer":     {`{"format": 2, "id": "task-000000000000", "unknown": {}}`, ErrNewer},
		"too long":  {`{"format": 1, "id": "` + string(make([]byte, maxRecord)), io.ErrUnexpectedEOF},
		"ours":      {`{"format": 1, "unknown": {}}`, nil},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, VMFile), []byte(c.raw), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

// Who reads while a record is written sees the old or the new one, and a failed write leaves the old one.
func TestSaveIsAtomic(t *testing.T) {
	dir := t.TempDir()
	if err := Save(dir, VM{CommandCount: 0}, false); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			if err := Save(dir, VM{CommandCount: i}, false); err != nil {
				t.Error(err)
			}
		}
	}()
	for last := 0; last < 299; {
		vm, err := Load(dir)
		if err != nil || vm.CommandCount < last {
			t.Fatalf("%d after %d, %v", vm.CommandCount, last, err)
		}
		last = vm.CommandCount
	}
	<-done
	if err := os.Mkdir(filepath.Join(dir, VMFile+".tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, VM{CommandCount: 1}, true); err == nil {
		t.Error("nothing could be written")
	}
	if vm, err := Load(dir); err != nil || vm.CommandCount != 299 {
		t.Errorf("the old record is lost: %+v, %v", vm, err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"task-000000000000","expires_at":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"format":99}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, VMFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		vm, err := Load(dir)
		if err == nil && vm.Format > Format {
			t.Errorf("format %d is read", vm.Format)
		}
	})
}
