package vmmtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// checkpoint is the path of the template's VMM.
func (r *rig) checkpoint() string { return filepath.Join(r.dir, "checkpoint") }

// takeCheckpoint keeps the VMM of a frozen machine, if the driver can.
func (r *rig) takeCheckpoint(t *testing.T, g *guest) {
	t.Helper()
	c, ok := g.Machine.(vmm.Checkpointer)
	if !ok {
		return
	}
	file, err := os.OpenFile(r.checkpoint(), os.O_RDWR|os.O_CREATE, 0o755)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = errors.Join(c.Checkpoint(ctx, file), file.Close())
	if (err == nil) != r.config.Checkpoints {
		t.Errorf("a checkpoint gives: %v", err)
	}
}

// resumed gives a machine that goes on from the checkpoint, whose disk is durable or not.
func (r *rig) resumed(t *testing.T, durable bool) *guest {
	t.Helper()
	spec, g := r.spec(t)
	spec.Memory, spec.Checkpoint = &vmm.Memory{Path: r.memory()}, r.checkpoint()
	spec.Disks[1].Durable = durable
	r.start(spec, g)
	return g
}

// checkCheckpoint starts machines from the template's VMM, several at a time.
func (r *rig) checkCheckpoint(t *testing.T) {
	if !r.config.Checkpoints {
		t.Log("the driver has no checkpoints here")
		return
	}
	sum := checksum(t, r.memory())
	first, second := r.resumed(t, false), r.resumed(t, true)
	first.want("get", "remembered by all clones")
	first.want("set known to the first alone", "known to the first alone")
	second.want("get", "remembered by all clones")
	second.want("read base", "this is the base")
	second.want("write scratch a clone was here", "written")
	second.want("read scratch", "a clone was here")
	first.want("read scratch", "this is the scratch disk")
	second.want("up", "up")
	checkFrame(t, second)

	// It can be kept as others can.
	fork := r.from(t, r.snapshot(t, first, r.base(), nil))
	fork.want("get", "known to the first alone")
	first.want("echo still here", "still here")
	for _, g := range []*guest{first, second, fork} {
		must(t, g.Kill())
	}
	if checksum(t, r.memory()) != sum {
		t.Error("what goes on from a checkpoint has changed the template's memory")
	}
}

// checkDamagedCheckpoint starts from a checkpoint whose beginning is lost.
func (r *rig) checkDamagedCheckpoint(t *testing.T) {
	if !r.config.Checkpoints {
		t.Log("the driver has no checkpoints here")
		return
	}
	whole, err := os.ReadFile(r.checkpoint())
	must(t, err)
	for name, from := range map[string]int{"program": 4096, "headers": 0} {
		damaged := append([]byte(nil), whole...)
		clear(damaged[from : from+4096])
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, damaged, 0o755))
		spec, _ := r.spec(t)
		spec.Memory, spec.Checkpoint = &vmm.Memory{Path: r.memory()}, path
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		machine, err := r.config.Driver.Start(ctx, spec)
		if err == nil {
			machine.Kill()
			t.Errorf("%s: a machine starts from a damaged checkpoint", name)
		}
		if ctx.Err() != nil || !errors.Is(err, vmm.ErrCheckpoint) {
			t.Errorf("%s: the damage is not noticed: %v", name, err)
		}
		cancel()
	}
	if left := children(t); left != "" {
		t.Errorf("these processes are left: %s", left)
	}
}
