package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Accelerator chooses between KVM and TCG. See [vmm.Driver].
func (d *Driver) Accelerator(ctx context.Context, want vmm.Accelerator, boot vmm.Boot) (vmm.Choice, error) {
	known, err := d.know(ctx)
	if err != nil {
		return vmm.Choice{}, err
	}
	found := d.device()
	if found.Accessible && known.verdict.KVM.Tried {
		found = known.verdict.KVM
	}
	switch want {
	case vmm.TCG:
		return vmm.Choice{Accelerator: vmm.TCG, KVM: found}, nil
	case vmm.KVM, vmm.Auto, "":
	default:
		return vmm.Choice{}, fmt.Errorf("no such accelerator as %q: it is auto, kvm or tcg", want)
	}
	if found.Accessible && !found.Tried {
		if found, err = d.probe(ctx, known, found, boot); err != nil {
			return vmm.Choice{}, err
		}
	}
	switch {
	case found.Usable:
		return vmm.Choice{Accelerator: vmm.KVM, KVM: found}, nil
	case want == vmm.KVM:
		return vmm.Choice{KVM: found}, hinted{
			fmt.Errorf("%w: %s", vmm.ErrKVM, found.Reason),
			"use the accelerator auto or tcg: guests then run without KVM, several times slower",
		}
	}
	return vmm.Choice{Accelerator: vmm.TCG, KVM: found}, nil
}

// device finds out what can be known about KVM without booting a guest.
func (d *Driver) device() vmm.Verdict {
	path := d.options.KVMDevice
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		file.Close()
		return vmm.Verdict{Exists: true, Accessible: true, Reason: "not tried yet"}
	case errors.Is(err, fs.ErrNotExist):
		return vmm.Verdict{Reason: path + " does not exist: the processor's virtualization is off, or " +
			"this is a guest itself"}
	case errors.Is(err, fs.ErrPermission):
		return vmm.Verdict{Exists: true, Reason: "this user may not open " + path +
			": on most systems members of group kvm may"}
	}
	return vmm.Verdict{Exists: true, Reason: fmt.Sprintf("cannot open %s: %v", path, err)}
}

// probe boots a guest on KVM, unless another process has just done so.
func (d *Driver) probe(
	ctx context.Context, known knowledge, found vmm.Verdict, boot vmm.Boot,
) (vmm.Verdict, error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return found, fmt.Errorf("cannot probe kvm: %w", err)
	}
	defer unlock()
	v := d.loadVerdict(known.release)
	if v.KVM.Tried {
		d.learn(v)
		return v.KVM, nil
	}
	limit, cancel := context.WithTimeout(ctx, d.options.ProbeTimeout)
	defer cancel()
	found.Tried = true
	for _, cpu := range d.platform.cpu[vmm.KVM] {
		err := d.try(limit, cpu, boot)
		if ctx.Err() != nil {
			return found, ctx.Err() // the caller's own end says nothing about KVM
		}
		if err == nil {
			found.Usable, found.Reason = true, ""
			v.CPU = cpu
			break
		}
		found.Reason = "a guest did not boot on it: " + sentence(err.Error())
		if limit.Err() != nil {
			found.Reason = fmt.Sprintf("a guest did not boot on it within %v", d.options.ProbeTimeout)
			break
		}
	}
	v.KVM = found
	d.save(verdictFile, v)
	d.learn(v)
	return found, nil
}

// try boots a guest with that CPU model, which Start takes while it does.
func (d *Driver) try(ctx context.Context, cpu string, boot vmm.Boot) error {
	d.mu.Lock()
	d.trying = cpu
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.trying = ""
		d.mu.Unlock()
	}()
	return boot(ctx, vmm.KVM)
}
