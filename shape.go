package pyro

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/network"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/record"
	"golang.org/x/sys/unix"
)

// describe turns a wanted shape into a record, with defaults filled in and everything checked that can be
// before anything is made.
func (p *Pyro) describe(ctx context.Context, kind record.Kind, s Shape, publish []string) (record.VM, error) {
	ttl := DefaultTTLSeconds
	if s.TTLSeconds != nil {
		ttl = *s.TTLSeconds
	}
	vm := record.VM{
		Kind:            kind,
		Environment:     s.Environment,
		VCPUCount:       or(s.VCPUCount, DefaultVCPUCount),
		MemMiB:          or(s.MemMiB, DefaultMemMiB),
		DiskMiB:         or(s.DiskMiB, DefaultDiskMiB),
		TTLSeconds:      ttl,
		NetworkEnabled:  s.Network || len(s.Allow)+len(s.AllowHost)+len(publish) > 0,
		Allow:           s.Allow,
		AllowHost:       s.AllowHost,
		Publish:         publish,
		InboundOnly:     !s.Network && len(s.Allow) == 0 && len(publish)+len(s.AllowHost) > 0,
		AllowHostCompat: s.AllowHostCompat,
		ExecutionMode:   link.ModeGuest,
		Metadata:        s.Metadata,
		Isolation:       cmp.Or(s.Isolation, p.options.Isolation),
		Accelerator:     "",
		WantAccelerator: p.options.Accelerator,
		CacheDir:        p.options.CacheDir,
	}
	if vm.Metadata == nil {
		vm.Metadata = map[string]string{}
	}
	if _, err := s.wait(); err != nil {
		return vm, err
	}
	if err := checkShape(vm); err != nil {
		return vm, err
	}
	var err error
	if vm.Boot.Trust, err = s.trust(vm); err != nil {
		return vm, err
	}
	rules := network.Config{Allow: vm.Allow, Host: vm.AllowHost, Publish: vm.Publish}
	if _, err := network.Parse(rules); err != nil {
		return vm, &Error{Kind: ErrInvalid, Message: err.Error(), cause: err}
	}
	if kind != record.KindRun || vm.DiskMiB > DefaultDiskMiB { // A run fills no disk of the default's size.
		vm.Warnings = p.diskWarning(vm.DiskMiB)
	}
	took := phase.Start(p.log)
	manifest, err := p.installed(ctx, s)
	if err != nil {
		if !s.AllowHostCompat || !errors.Is(err, ErrEnvironment) {
			return vm, err
		}
		// Whether the host may stand in is the supervisor's to say: only if it could have no guest anyhow.
		vm.Boot.Missing = err.Error()
		return vm, nil
	}
	took.Done("environment looked up", "environment", s.Environment)
	vm.Boot = record.Boot{
		Trust:       vm.Boot.Trust,
		Image:       manifest.Image.Path,
		ImageSHA256: manifest.Image.SHA256,
		Kernel:      recordKernel(manifest.Kernel),
		Env:         manifest.Config.Env,
		User:        manifest.Config.User,
		Entrypoint:  manifest.Config.Entrypoint,
		Cmd:         manifest.Config.Cmd,
	}
	if kind != record.KindTask {
		vm.Boot.WorkDir = manifest.Config.WorkDir
	}
	return vm, nil
}

// diskWarning warns of a disk that was asked for and that the host has no room for, should it be filled: it
// is sparse.
func (p *Pyro) diskWarning(mib int) []string {
	var st unix.Statfs_t
	for path := p.options.StateDir; unix.Statfs(path, &st) != nil; path = filepath.Dir(path) {
		if path == filepath.Dir(path) {
			return nil
		}
	}
	free := int64(st.Bavail) * st.Bsize >> 20
	if int64(mib) <= free {
		return nil
	}
	return []string{fmt.Sprintf("the disk may grow to %d MiB, and the host has %d MiB left for it: "+
		"writing fails when that is full", mib, free)}
}

func checkShape(vm record.VM) error {
	for _, given := range []struct {
		name  string
		value int
	}{
		{"vcpu_count", vm.VCPUCount},
		{"mem_mib", vm.MemMiB},
		{"disk_mib", vm.DiskMiB},
		{"ttl_seconds", vm.TTLSeconds},
	} {
		if err := ParameterNamed(given.name).check(given.value); err != nil {
			return err
		}
	}
	if err := checkIsolation(vm.Isolation); err != nil {
		return err
	}
	if len(vm.Metadata) > maxMetadata {
		return invalid("metadata has %d entries, more than %d", len(vm.Metadata), maxMetadata)
	}
	for k, v := range vm.Metadata {
		if k == "" || len(k) > maxMetadataLen || len(v) > maxMetadataLen {
			return invalid("metadata %.40q is empty or longer than %d bytes", k, maxMetadataLen)
		}
	}
	if vm.Environment == "" {
		return &Error{Kind: ErrInvalid, Message: "no environment is named", Cause: "unknown_environment"}
	}
	return nil
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// checkRun checks a run's command as far as that can be done before its environment is there. Those of the
// catalog have no command of their own.
func (p *Pyro) checkRun(r RunInVMRequest) error {
	if r.Command != "" || len(r.Argv) > 0 {
		return r.CommandLine.check()
	}
	if r.Entrypoint == nil && p.store.Offers(r.Environment) {
		return noCommand(r.Environment)
	}
	return r.checkSettings()
}

// checkSettings refuses what no command can be run with.
func (c CommandLine) checkSettings() error {
	if err := c.CommandSettings.check(); err != nil {
		return err
	}
	if err := checkVariables("secrets", c.Secrets); err != nil {
		return err
	}
	if _, err := c.grace(); err != nil {
		return err
	}
	_, err := c.timeout()
	return err
}

// within is the run's command as the environment has it: behind its entry point, or its own if none is
// given.
func (r RunInVMRequest) within(b record.Boot) (CommandLine, error) {
	c := r.CommandLine
	if c.Command != "" {
		return c, nil
	}
	before, own := b.Entrypoint, b.Cmd
	if r.Entrypoint != nil {
		before, own = nil, nil
		if *r.Entrypoint != "" {
			before = []string{*r.Entrypoint}
		}
	}
	if len(c.Argv) > 0 {
		own = c.Argv
	}
	if c.Argv = slices.Concat(before, own); len(c.Argv) == 0 {
		return c, noCommand(r.Environment)
	}
	return c, c.check()
}

func noCommand(environment string) error {
	return &Error{
		Kind:    ErrInvalid,
		Message: fmt.Sprintf("no command is given, and %q brings none of its own", environment),
		Hint:    "say it with {command}",
		cause:   ErrNoCommand,
	}
}

func (c CommandLine) check() error {
	if (c.Command == "") == (len(c.Argv) == 0) {
		return &Error{Kind: ErrInvalid, Message: "exactly one of command and argv must be given"}
	}
	if len(c.Argv) > 0 && c.Argv[0] == "" {
		return invalid("the program's name is empty")
	}
	return c.checkSettings()
}

// PhaseWait is the phase of [PullProgress] in which a place is waited for.
const PhaseWait = "wait"

// wait says how long a VM of this shape waits for a place.
func (s Shape) wait() (instances.Wait, error) {
	seconds := DefaultWaitSeconds
	if s.WaitSeconds != nil {
		seconds = *s.WaitSeconds
	}
	out := instances.Wait{For: time.Duration(seconds) * time.Second}
	if s.Progress != nil {
		out.Tell = func(limit int) {
			s.Progress(PullProgress{
				Phase:  PhaseWait,
				Detail: fmt.Sprintf("%d VMs and tasks are alive, the limit: waiting for a place", limit),
			})
		}
	}
	return out, ParameterNamed("wait_seconds").check(seconds)
}
