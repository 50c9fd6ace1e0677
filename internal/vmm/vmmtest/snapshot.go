package vmmtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// kept is a snapshot in files.
type kept struct{ base, memory, state, scratch string }

// checkSnapshot keeps a running guest, and goes on from what was kept while the guest does, too.
func (r *rig) checkSnapshot(t *testing.T) {
	if !r.config.Driver.Abilities().Snapshot {
		t.Log("the driver cannot take snapshots")
		return
	}
	source := r.fresh(t)
	source.want("set before", "before")
	k := r.snapshot(t, source, r.base(), nil)
	source.want("get", "before")
	source.want("set after", "after")
	source.want("write scratch after", "written")

	fork := r.from(t, k)
	fork.want("get", "before")
	fork.want("read scratch", "this is the scratch disk")
	source.want("get", "after")
	must(t, source.Kill())

	// A snapshot of a fork rests on the same base.
	fork.want("set once more", "once more")
	again := r.from(t, r.snapshot(t, fork, k.base, nil))
	again.want("get", "once more")
	must(t, fork.Kill())

	// A failure at the moment of standing still leaves the guest running.
	broken := errors.New("broken")
	r.snapshot(t, again, k.base, broken)
	again.want("echo still here", "still here")
	must(t, again.Kill())
}

// checkBootedSnapshot does the same with a guest that was booted, whose memory has no base.
func (r *rig) checkBootedSnapshot(t *testing.T) {
	if !r.config.Driver.Abilities().Snapshot {
		t.Log("the driver cannot take snapshots")
		return
	}
	source := r.boot(t, "")
	source.want("set before", "before")
	k := r.snapshot(t, source, "", nil)
	must(t, source.Kill())
	fork := r.from(t, k)
	fork.want("get", "before")
	must(t, fork.Kill())
}

// base is the path of the memory that fresh guests start from; empty if they boot.
func (r *rig) base() string {
	if r.state == nil {
		return ""
	}
	return r.memory()
}

// snapshot keeps a guest. If broken is not nil, that is what its disk fails with.
func (r *rig) snapshot(t testing.TB, g *guest, base string, broken error) kept {
	t.Helper()
	dir := t.TempDir()
	k := kept{base, filepath.Join(dir, "memory"), filepath.Join(dir, "state"), filepath.Join(dir, "scratch")}
	memory, err := os.Create(k.memory)
	must(t, err)
	defer memory.Close()
	state, err := os.Create(k.state)
	must(t, err)
	defer state.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var still time.Time
	err = g.Machine.(vmm.Snapshotter).Snapshot(ctx,
		vmm.Snapshot{Memory: memory, State: state, Still: func(bool) error {
			still = time.Now()
			if broken != nil {
				return broken
			}
			data, err := os.ReadFile(g.scratch)
			if err == nil {
				err = os.WriteFile(k.scratch, data, 0o600)
			}
			return err
		}})
	if !errors.Is(err, broken) {
		t.Fatalf("a snapshot whose disk fails with %v gives %v", broken, err)
	}
	if still.IsZero() {
		t.Error("the guest did not stand still")
	}
	return k
}

// from starts a machine from a snapshot.
func (r *rig) from(t testing.TB, k kept) *guest {
	t.Helper()
	spec, g := r.spec(t)
	data, err := os.ReadFile(k.scratch)
	must(t, err)
	must(t, os.WriteFile(g.scratch, data, 0o600))
	state, err := os.Open(k.state)
	must(t, err)
	defer state.Close()
	spec.Incoming, spec.Memory = state, &vmm.Memory{Path: k.memory}
	if k.base != "" {
		overlay, err := os.Open(k.memory)
		must(t, err)
		defer overlay.Close()
		spec.Memory = &vmm.Memory{Path: k.base, Overlay: overlay}
	}
	ready := false
	spec.Ready = func() error {
		ready = true
		return nil
	}
	r.start(spec, g)
	if !ready {
		t.Error("nobody was told that the state is loaded")
	}
	return g
}
