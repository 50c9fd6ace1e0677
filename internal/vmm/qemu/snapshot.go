package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Snapshot keeps a guest as it is at one moment. Most of its memory is written while it still runs, so that
// it stands still only for what has changed since.
func (m *machine) Snapshot(ctx context.Context, to vmm.Snapshot) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot take a snapshot of the virtual machine: %w", err)
		}
	}()
	size := int64(m.memMiB) << 20
	ram, err := findMemory(m.PID(), m.memoryFile, size)
	if err != nil {
		return err
	}
	if err := to.Memory.Truncate(size); err != nil {
		return err
	}
	disks, known := m.written(ctx)
	if to.Ahead != nil {
		if err := to.Ahead(); err != nil {
			return err
		}
	}
	if _, err := ram.save(to.Memory); err != nil {
		return err
	}
	if to.Settle != nil {
		if err := to.Settle(); err != nil {
			return err
		}
	}
	if err := m.qmp.execute(ctx, "stop", nil, nil, nil); err != nil {
		return err
	}
	_, err = ram.save(to.Memory)
	if err == nil {
		err = m.saveDevices(ctx, to.State)
	}
	if err == nil && to.Still != nil {
		now, same := m.written(ctx)
		err = to.Still(!known || !same || now != disks)
	}
	if to.Stay && err == nil {
		return nil
	}
	// It goes on also if its caller has gone.
	return errors.Join(err, m.qmp.execute(context.WithoutCancel(ctx), "cont", nil, nil, nil))
}

// written is how much the guest has changed of its disks since it was started.
type written struct{ writes, bytes, discards int64 }

// written asks QEMU, and tells whether it has said.
func (m *machine) written(ctx context.Context) (sum written, ok bool) {
	var all []struct {
		Stats struct {
			Writes   int64 `json:"wr_operations"`
			Bytes    int64 `json:"wr_bytes"`
			Discards int64 `json:"unmap_operations"`
		} `json:"stats"`
	}
	if err := m.qmp.execute(ctx, "query-blockstats", nil, nil, &all); err != nil {
		return sum, false
	}
	for _, disk := range all {
		sum.writes += disk.Stats.Writes
		sum.bytes += disk.Stats.Bytes
		sum.discards += disk.Stats.Discards
	}
	return sum, len(all) > 0
}

// saveDevices writes the state of everything but the memory.
func (m *machine) saveDevices(ctx context.Context, state *os.File) error {
	out, err := os.OpenFile(reopen(state), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	var set struct {
		ID int `json:"fdset-id"`
	}
	if err := m.qmp.execute(ctx, "add-fd", nil, out, &set); err != nil {
		return err
	}
	err = m.qmp.execute(ctx, "xen-save-devices-state", map[string]any{
		"filename": fmt.Sprintf("/dev/fdset/%d", set.ID),
		"live":     false,
	}, nil, nil)
	remove := m.qmp.execute(ctx, "remove-fd", map[string]any{"fdset-id": set.ID}, nil, nil)
	return errors.Join(err, remove)
}

// loadMemory notes which file the memory is in, and gives the guest, which does not run yet, the pages that
// a snapshot has kept.
func (m *machine) loadMemory(spec *vmm.Memory) error {
	if spec == nil {
		return nil
	}
	info, err := os.Stat(spec.Path)
	if err != nil {
		return err
	}
	m.memoryFile = info.Sys().(*syscall.Stat_t).Ino
	if spec.Overlay == nil {
		return nil
	}
	ram, err := findMemory(m.PID(), m.memoryFile, int64(m.memMiB)<<20)
	if err != nil {
		return err
	}
	return ram.load(spec.Overlay)
}
