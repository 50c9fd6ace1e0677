package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pyro-mcp/pyro/internal/guest"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// running is the guest while it runs.
type running struct {
	*guest.Guest
	noted chan struct{} // closed when the supervisor has noted its end
}

// current gives the guest if one runs.
func (s *supervisor) current() *running {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// started gives the guest, started first if there is none.
func (s *supervisor) started(ctx context.Context) (*running, error) {
	s.boot.Lock()
	defer s.boot.Unlock()
	if g := s.current(); g != nil {
		return g, nil
	}
	s.mu.Lock()
	s.vm.Generation++ // Whatever it goes on from, it is another incarnation.
	vm := s.vm
	s.mu.Unlock()
	if vm.ID == "" {
		return nil, &link.Error{Code: link.CodeState, Message: "the VM does not exist yet"}
	}
	started, err := s.guests.Start(ctx, s.spec(vm))
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fail(err.Error())
		return nil, errors.Join(err, s.save())
	}
	g := &running{Guest: started, noted: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		g.Kill()
		return nil, &link.Error{Code: link.CodeState, Cause: link.CauseDeleted,
			Message: "the VM is being deleted"}
	}
	facts := g.Facts()
	s.running = g
	s.tellForgotten(facts.Forgotten)
	if facts.Resumed {
		s.conns.Go(func() { s.adopt(context.WithoutCancel(ctx), g) })
	} else if vm.From != "" || vm.State == record.StatePaused {
		s.log.Info("the guest was booted: the memory that was kept is of no use here")
		go s.loseJobs()
	}
	s.vm.State, s.vm.ExecutionMode, s.vm.Accelerator = record.StateStarted, facts.Mode, facts.Accelerator
	s.vm.Warm, s.vm.Confinement, s.vm.VMMConfinement = facts.Warm, facts.Confinement, facts.VMMConfinement
	s.vm.Resumed, s.vm.Stale = facts.Resumed, facts.Stale
	go s.watch(g)
	go s.reviveServices(g)
	return g, s.save()
}

// forgottenPrefix begins the warning that a guest was booted though its memory was kept.
const forgottenPrefix = "booted from its disk alone, without what ran in it: "

// tellForgotten has the record say so, or no longer. The caller holds mu.
func (s *supervisor) tellForgotten(why string) {
	warnings := slices.DeleteFunc(slices.Clone(s.vm.Warnings), func(w string) bool {
		return strings.HasPrefix(w, forgottenPrefix)
	})
	if why != "" {
		warnings = append(warnings, forgottenPrefix+why)
	}
	s.vm.Warnings = warnings
}

// watch notes a guest's end.
func (s *supervisor) watch(g *running) {
	<-g.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == g {
		s.running = nil
		s.vm.State = record.StateStopped
		if cause := g.Cause(); cause != nil {
			s.fail(cause.Error())
		}
		if err := s.save(); err != nil {
			s.log.Error("cannot write the record", "error", err)
		}
	}
	close(g.noted)
}

// stop ends the guest and keeps the disk.
func (s *supervisor) stop() error {
	s.boot.Lock()
	defer s.boot.Unlock()
	g := s.current()
	if g == nil {
		if err := guest.DropKept(s.dir, record.ScratchFile); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.vm.State = record.StateStopped
		return s.save()
	}
	s.setStopping(true)
	defer s.setStopping(false)
	g.Shutdown()
	g.Kill()
	<-g.noted
	return nil
}

func (s *supervisor) setStopping(stopping bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = stopping
}

// isStopping tells whether the guest is asked to end, which ends its commands first.
func (s *supervisor) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// spec is the guest that a record asks for.
func (s *supervisor) spec(vm record.VM) guest.Spec {
	return guest.Spec{
		ID:          vm.ID,
		PromisedMiB: s.root.Promised(vm),
		MachineID:   machineID(vm),
		Generation:  vm.Generation,
		Dir:         s.dir,
		CacheDir:    vm.CacheDir,
		OwnDir:      guest.OwnDir(vm.CacheDir, s.root.StateDir()),
		Image:       vm.Boot.Image,
		ImageSHA256: vm.Boot.ImageSHA256,
		Missing:     vm.Boot.Missing,
		Kernel: guest.Kernel{
			Path:       vm.Boot.Kernel.Path,
			SHA256:     vm.Boot.Kernel.SHA256,
			ModulesDir: vm.Boot.Kernel.ModulesDir,
			Modules:    vm.Boot.Kernel.Modules,
		},
		Env:         vm.Boot.Env,
		User:        vm.Boot.User,
		WorkDir:     vm.Boot.WorkDir,
		Trust:       vm.Boot.Trust,
		VCPUs:       vm.VCPUCount,
		MemMiB:      vm.MemMiB,
		DiskMiB:     vm.DiskMiB,
		Durable:     vm.Kind == record.KindTask,
		Network:     vm.NetworkEnabled,
		Allow:       vm.Allow,
		Host:        vm.AllowHost,
		Publish:     vm.Publish,
		Inbound:     vm.InboundOnly,
		Accelerator: vm.WantAccelerator,
		Isolation:   vm.Isolation,
		AllowHost:   vm.AllowHostCompat,
		OnHost:      vm.ExecutionMode == guest.ModeHost,
		Others:      s.others,
		ScratchFile: record.ScratchFile,
		ConsoleFile: record.ConsoleFile,
		NetworkFile: record.NetworkFile,
	}
}

// others tells whether there are VMs of one command.
func (s *supervisor) others() bool {
	entries, err := os.ReadDir(filepath.Dir(s.dir))
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return strings.HasPrefix(e.Name(), string(record.KindRun)+"-")
	})
}

// machineID stays the same for a task that is started again.
func machineID(vm record.VM) string {
	sum := sha256.Sum256([]byte(vm.ID + vm.CreatedAt.String()))
	return hex.EncodeToString(sum[:16])
}
