package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/checkpoint"
	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Checkpoint keeps QEMU as it stands after [machine.Freeze]: with the guest's code as it has translated it.
func (m *machine) Checkpoint(ctx context.Context, to *os.File) error {
	if len(m.given) == 0 || m.process.handle < 0 {
		return vmm.ErrCheckpoint
	}
	filter, err := replaced().Program()
	if err == nil {
		err = m.letGo(ctx)
	}
	if err != nil {
		return err
	}
	err = checkpoint.Take(ctx, checkpoint.Process{PID: m.PID(), Files: m.given, Filter: filter}, to)
	if errors.Is(err, checkpoint.ErrUnsupported) {
		return fmt.Errorf("%w: %w", vmm.ErrCheckpoint, err)
	}
	return err
}

// blame tells whether it was the fault of its checkpoint that a machine has not started, which ends with the
// number of the error that a system call gave.
func (m *machine) blame(err error) error {
	cause := m.Err()
	if cause == nil || errors.Is(cause, vmm.ErrKilled) || errors.Is(cause, vmm.ErrKilledOutside) {
		return err
	}
	switch unix.Errno(max(0, m.process.cmd.ProcessState.ExitCode())) {
	case unix.ENOMEM, unix.EAGAIN, unix.ENFILE:
		return fmt.Errorf("%w: %w", vmm.ErrNoMemory, err)
	}
	return fmt.Errorf("%w: %w", vmm.ErrCheckpoint, err)
}

// letGo waits until QEMU has closed the file of the state that it has written, which it does a moment after
// it has said that it is done.
func (m *machine) letGo(ctx context.Context) error {
	for {
		open, err := m.hasOpen(m.state)
		if err != nil || !open {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// hasOpen tells whether QEMU has a file open.
func (m *machine) hasOpen(file checkpoint.File) (bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", m.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // It was closed just now.
		}
		if checkpoint.FileOf(info) == file {
			return true, nil
		}
	}
	return false, nil
}

// replaced refuses what QEMU's own filter does, which a checkpoint is without: what -sandbox names in
// sandbox, as QEMU's softmmu/qemu-seccomp.c lists it.
func replaced() confine.Calls {
	return confine.Calls{
		Alone: true,
		Denied: []uint32{
			unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETPGID, unix.SYS_SETSID, unix.SYS_SETREUID,
			unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETFSUID, unix.SYS_SETFSGID,
			unix.SYS_SETPRIORITY, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETSCHEDULER,
			unix.SYS_SCHED_SETAFFINITY,
		},
	}
}

// goingOn is a checkpoint, with what it needs open.
type goingOn struct {
	path          string
	image, memory *os.File
}

// checkpoint opens the checkpoint of a spec, nil if there is none, and takes from the spec what it makes
// needless.
func (f *files) checkpoint(spec *vmm.Spec) (*goingOn, error) {
	if spec.Checkpoint == "" {
		return nil, nil
	}
	if spec.Memory == nil || spec.Memory.Shared || spec.Memory.Overlay != nil {
		return nil, errors.New("a checkpoint goes on with the memory that it was taken with alone")
	}
	from := goingOn{path: spec.Checkpoint}
	for path, to := range map[string]**os.File{spec.Checkpoint: &from.image, spec.Memory.Path: &from.memory} {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		*f = append(*f, file)
		*to = file
	}
	spec.Incoming = nil
	return &from, nil
}

// goOn makes a command line one for a checkpoint: it is for people to see, and has the files in order.
func (c *command) goOn(from goingOn) {
	c.file(from.memory)
	c.file(from.image)
	c.become, c.lent, c.reads = from.path, false, append(c.reads, from.path)
}

// given identifies what QEMU is started with, for a checkpoint of it.
func (c command) given(spec vmm.Spec) (all []checkpoint.File, err error) {
	if spec.Accelerator != vmm.TCG || spec.Memory == nil || !spec.Memory.Shared {
		return nil, nil // The kernel has parts of a machine under KVM.
	}
	file, err := os.Open(spec.Memory.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for _, each := range append(c.files[:len(c.files):len(c.files)], file) {
		f, err := checkpoint.Identify(each)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// durable tells whether what a guest flushes has to reach a disk of the host's.
func durable(spec vmm.Spec) bool {
	for _, disk := range spec.Disks {
		if disk.Durable {
			return true
		}
	}
	return false
}
