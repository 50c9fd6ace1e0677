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
	known, err := d.remember(ctx)
	if err != nil {
		return vmm.Choice{}, err
	}
	verdict := d.device()
	if verdict.Accessible && known.KVM.Tried {
		verdict = known.KVM
	}
	switch want {
	case vmm.TCG:
		return vmm.Choice{Accelerator: vmm.TCG, KVM: verdict}, nil
	case vmm.KVM, vmm.Auto, "":
	default:
		return vmm.Choice{}, fmt.Errorf("no such accelerator as %q: it is auto, kvm or tcg", want)
	}
	if verdict.Accessible && !verdict.Tried {
		if verdict, err = d.probe(ctx, verdict, boot); err != nil {
			return vmm.Choice{}, err
		}
	}
	switch {
	case verdict.Usable:
		return vmm.Choice{Accelerator: vmm.KVM, KVM: verdict}, nil
	case want == vmm.KVM:
		return vmm.Choice{KVM: verdict}, hinted{
			fmt.Errorf("%w: %s", vmm.ErrKVM, verdict.Reason),
			"use the accelerator auto or tcg: guests then run without KVM, several times slower",
		}
	}
	return vmm.Choice{Accelerator: vmm.TCG, KVM: verdict}, nil
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
		return vmm.Verdict{Reason: path + " does not exist: the processor's virtualization is off, or this is a guest itself"}
	case errors.Is(err, fs.ErrPermission):
		return vmm.Verdict{Exists: true, Reason: "this user may not open " + path + ": on most systems members of group kvm may"}
	}
	return vmm.Verdict{Exists: true, Reason: fmt.Sprintf("cannot open %s: %v", path, err)}
}

// probe boots a guest on KVM, unless another process has just done so.
func (d *Driver) probe(ctx context.Context, verdict vmm.Verdict, boot vmm.Boot) (vmm.Verdict, error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return verdict, fmt.Errorf("cannot probe kvm: %w", err)
	}
	defer unlock()
	known, err := d.reload(ctx)
	if err != nil {
		return verdict, err
	}
	if known.KVM.Tried {
		return known.KVM, nil
	}
	limit, cancel := context.WithTimeout(ctx, d.options.ProbeTimeout)
	defer cancel()
	verdict.Tried = true
	for _, cpu := range d.platform.cpu[vmm.KVM] {
		err := d.try(limit, cpu, boot)
		if ctx.Err() != nil {
			return verdict, ctx.Err() // the caller's own end says nothing about KVM
		}
		if err == nil {
			verdict.Usable, verdict.Reason = true, ""
			known.CPU = cpu
			break
		}
		verdict.Reason = "a guest did not boot on it: " + sentence(err.Error())
		if limit.Err() != nil {
			verdict.Reason = fmt.Sprintf("a guest did not boot on it within %v", d.options.ProbeTimeout)
			break
		}
	}
	known.KVM = verdict
	d.learn(known)
	return verdict, nil
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
