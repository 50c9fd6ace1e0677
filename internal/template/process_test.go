package template

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pyro-mcp/pyro/internal/checkpoint"
)

// freezeWhole fills a draft in as a VMM would that can be kept itself.
func freezeWhole(t *testing.T) func(context.Context, Draft) error {
	return func(ctx context.Context, d Draft) error {
		cmd := exec.Command("python3", "-c",
			"import os; os.closerange(3, 1024); os.write(1, b'.'); os.read(0, 1)")
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		if _, err := out.Read(make([]byte, 1)); err != nil {
			return err
		}
		file, err := os.Create(d.Process)
		if err != nil {
			return err
		}
		return errors.Join(checkpoint.Take(t.Context(), checkpoint.Process{PID: cmd.Process.Pid}, file),
			file.Close(), freeze(ctx, d))
	}
}

// find gives a template that must be there, closed.
func find(t *testing.T, s *Store, key Key) *Template {
	t.Helper()
	found := s.Find(key)
	if found == nil {
		t.Fatal("the template is not found")
	}
	if err := found.Close(); err != nil {
		t.Error(err)
	}
	return found
}

// stampThen is the stamp of a template's memory as it lies there.
func stampThen(t *testing.T, held *Template) stamp {
	t.Helper()
	now, err := stampOf(held.Memory)
	if err != nil {
		t.Fatal(err)
	}
	now.Changed = 0
	return now
}

func TestACheckpointIsPartOfATemplate(t *testing.T) {
	s, key := Open(t.TempDir()), Key{Image: "a"}
	if _, err := s.Make(t.Context(), key, How{}, freezeWhole(t)); err != nil {
		t.Fatal(err)
	}
	whole := find(t, s, key)
	if whole.Process == "" || whole.Stale {
		t.Fatalf("the checkpoint is %q, stale: %v", whole.Process, whole.Stale)
	}

	// Another user's copy has it, too.
	adopted, err := Open(t.TempDir()).Adopt(t.Context(), key, whole)
	if err != nil {
		t.Fatal(err)
	}
	if adopted.Process == "" || adopted.Process == whole.Process {
		t.Errorf("the copy's checkpoint is %q", adopted.Process)
	}
	if err := adopted.Close(); err != nil {
		t.Error(err)
	}

	// One that was written to is stale: the rest is as good as before, and all of it is made again if asked.
	tick(t, whole.Process)
	if err := overwrite(whole.Process, "changed"); err != nil {
		t.Fatal(err)
	}
	if stale := find(t, s, key); stale.Process != "" || !stale.Stale {
		t.Errorf("a changed checkpoint is %q, stale: %v", stale.Process, stale.Stale)
	}
	held := s.Find(key) // by somebody who is starting from it
	made := make(chan error, 1)
	go func() {
		_, err := s.Make(t.Context(), key, How{}, freezeWhole(t))
		made <- err
	}()
	draft := filepath.Join(s.dir, key.Name()+".tmp", metaFile)
	for _, err := os.Stat(draft); err != nil; _, err = os.Stat(draft) {
		select {
		case err := <-made:
			t.Fatalf("it was made while somebody was starting from the one before: %v", err)
		default:
		}
	}
	if now, err := readMeta(held.dir); err != nil || now.Memory != stampThen(t, held) {
		t.Errorf("a template was replaced under who starts from it: %v", err)
	}
	if err := errors.Join(held.Close(), <-made); err != nil {
		t.Fatal(err)
	}
	again := find(t, s, key)
	if again.Process == "" || again.Stale {
		t.Errorf("made again, the checkpoint is %q, stale: %v", again.Process, again.Stale)
	}

	// One that is given up is not missed.
	if err := again.Forget(); err != nil {
		t.Fatal(err)
	}
	if without := find(t, s, key); without.Process != "" || without.Stale {
		t.Errorf("a checkpoint that was given up is %q, stale: %v", without.Process, without.Stale)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(again.Process), "*"))
	if err != nil || len(left) != 5 {
		t.Errorf("the template has %q, %v", left, err)
	}
}

// TestACheckpointThatDoesNotFit is of a host that was started anew, or whose programs were.
func TestACheckpointThatDoesNotFit(t *testing.T) {
	s, key := Open(t.TempDir()), Key{Image: "a"}
	if _, err := s.Make(t.Context(), key, How{}, func(ctx context.Context, d Draft) error {
		return errors.Join(os.WriteFile(d.Process, []byte("no checkpoint"), 0o700), freeze(ctx, d))
	}); err != nil {
		t.Fatal(err)
	}
	if found := find(t, s, key); found.Process != "" || !found.Stale {
		t.Errorf("the checkpoint is %q, stale: %v", found.Process, found.Stale)
	}
}
