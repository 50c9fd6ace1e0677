package instances

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/record"
)

// made gives a state directory with a VM in it, locked by nobody, and its instances.
func made(t *testing.T, kind record.Kind) (*Instances, string) {
	t.Helper()
	i := Open(Options{StateDir: t.TempDir(), MaxActive: 1, Log: slog.New(slog.DiscardHandler)})
	id, lock, err := i.root.Create(kind, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	return i, id
}

// holding starts a process that has a VM's lock, exclusive or shared, and is deaf to all but SIGKILL.
func holding(t *testing.T, path, how string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec 9<>$0; flock "+how+" 9; echo held; exec sleep 60", path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, len("held\n")))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// Deleting ends who holds the lock, found over a path with a link in it, and leaves who only asks alone.
func TestWhoHoldsTheLockIsEnded(t *testing.T) {
	i, id := made(t, record.KindTask)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(i.options.StateDir, link); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(link, "vms", id, record.LockFile)
	holder := holding(t, path, "-x")
	asker := exec.Command("sh", "-c", "exec 9<>$0; echo open; exec sleep 60", path)
	out, err := asker.StdoutPipe()
	if err == nil {
		err = asker.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, len("open\n")))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = asker.Process.Kill(); _ = asker.Wait() }()
	if err := killHolders(path); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = holder.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("who holds the lock lives on")
	}
	if err := asker.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("who only asks was ended: %v", err)
	}
}

// What has no record was never whole, or is half removed.
func TestWhatHasNoRecordIsReaped(t *testing.T) {
	i, id := made(t, record.KindTask)
	if err := os.WriteFile(filepath.Join(i.Dir(id), record.ScratchFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reaped, err := i.Reap(t.Context())
	if err != nil || strings.Join(reaped, " ") != id {
		t.Errorf("%+v, %v", reaped, err)
	}
	if i.root.Exists(id) {
		t.Error("it is there still")
	}
}

// A task that is whole, or that cannot be read, is kept; one that was never completed is not.
func TestWhatIsReaped(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		vm   record.VM
		raw  string
		goes bool
	}{
		"whole":          {vm: record.VM{Complete: true}},
		"never complete": {goes: true},
		"expired":        {vm: record.VM{Complete: true, ExpiresAt: &past}, goes: true},
		"cut short":      {raw: `{"format": 1, "id`},
		"newer":          {raw: `{"format": 99}`},
	} {
		t.Run(name, func(t *testing.T) {
			i, id := made(t, record.KindTask)
			dir := i.Dir(id)
			err := record.Save(dir, c.vm, false)
			if c.raw != "" {
				err = os.WriteFile(filepath.Join(dir, record.VMFile), []byte(c.raw), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := i.Reap(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i.root.Exists(id) == c.goes {
				t.Errorf("it goes: %v, want %v", !c.goes, c.goes)
			}
			if err := i.Destroy(t.Context(), id); err != nil && !c.goes {
				t.Error(err)
			}
		})
	}
}
