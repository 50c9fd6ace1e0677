package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// Accelerator chooses between KVM and TCG. See [vmm.Driver].
func (d *Driver) Accelerator(ctx context.Context, want vmm.Accelerator, boot vmm.Boot) (vmm.Choice, error) {
	known, err := d.know(ctx)
	if err != nil {
		return vmm.Choice{}, err
	}
	found := d.device()
	v := known.verdict
	if found.Accessible && !v.stands(time.Now()) {
		v = d.loadVerdict(known.release) // Another process may have found out meanwhile.
		d.learn(v)
	}
	if found.Accessible && v.KVM.Tried {
		found = v.KVM
	}
	switch want {
	case vmm.TCG:
		return vmm.Choice{Accelerator: vmm.TCG, KVM: found}, nil
	case vmm.KVM, vmm.Auto, "":
	default:
		return vmm.Choice{}, fmt.Errorf("no such accelerator as %q: it is auto, kvm or tcg", want)
	}
	// Who asks for KVM by its name has it tried again.
	if found.Accessible && (!v.stands(time.Now()) || want == vmm.KVM && !found.Usable) {
		if found, err = d.probe(ctx, known, v.At, boot); err != nil {
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

// Reconsider has KVM tried again at the next start if the last trial only took too long.
func (d *Driver) Reconsider(ctx context.Context) error {
	known, err := d.know(ctx)
	if err != nil {
		return err
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if v := d.loadVerdict(known.release); v.TimedOut {
		v.At = time.Time{}
		d.save(verdictFile, v)
		d.learn(v)
	}
	return nil
}

// probe boots a guest on KVM, unless another process has just done so, later than what is known of it.
func (d *Driver) probe(
	ctx context.Context, known knowledge, last time.Time, boot vmm.Boot,
) (vmm.Verdict, error) {
	found := d.device()
	unlock, err := d.lock(ctx)
	if err != nil {
		return found, fmt.Errorf("cannot probe kvm: %w", err)
	}
	defer unlock()
	v := d.loadVerdict(known.release)
	if v.stands(time.Now()) && !v.At.Equal(last) {
		d.learn(v)
		return v.KVM, nil
	}
	v.TimedOut, v.CPU = false, ""
	v.Tries++
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
			v.TimedOut = true
			break
		}
	}
	v.KVM, v.At = found, time.Now()
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
