package pyro

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/record"
	"golang.org/x/sys/unix"
)

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

// make describes a shape and makes a VM of it, while nobody prunes what it is made from.
func (p *Pyro) make(ctx context.Context, kind record.Kind, shape Shape,
	publish []string) (*instances.Session, record.VM, error) {
	vm, err := p.describe(ctx, kind, shape, publish)
	if err != nil {
		return nil, vm, err
	}
	s, err := p.createHeld(ctx, vm, shape)
	return s, vm, err
}

// createHeld makes a VM as soon as there is a place for it, while nobody prunes what it is made from.
func (p *Pyro) createHeld(ctx context.Context, vm record.VM, shape Shape) (*instances.Session, error) {
	wait, err := shape.wait()
	if err != nil {
		return nil, err
	}
	place, err := p.instances.Take(ctx, vm.Kind, wait)
	if err != nil {
		return nil, fromLink("", err)
	}
	release, err := p.store.Hold(ctx)
	if err != nil {
		return nil, errors.Join(err, p.instances.Leave(place))
	}
	defer release()
	// What a snapshot left that was broken off is in nobody's way, and goes with it if it can.
	_, _ = p.snapshots().Sweep()
	s, err := p.instances.Fill(ctx, place, vm)
	if err != nil {
		return nil, fromLink("", err)
	}
	if err := p.store.Use(vm.Boot.ImageSHA256, vm.Boot.Kernel.Path, p.instances.Dir(s.ID)); err != nil {
		s.Close()
		return nil, errors.Join(environmentError("", err), p.instances.Discard(s.ID))
	}
	return s, nil
}

// What of the host a place stands for. Guests idle most of the time, and share their template's memory.
const (
	placesPerProcessor = 8
	memoryShare        = 4 // a quarter of the memory is left to the host
)

// places is how many VMs memory and processors hold, at least [DefaultMaxActiveVMs].
func places(memoryMiB, processors int) int {
	byMemory := memoryMiB * (memoryShare - 1) / memoryShare / DefaultMemMiB
	return max(DefaultMaxActiveVMs, min(byMemory, processors*placesPerProcessor))
}

// hostPlaces is how many VMs this host holds.
func hostPlaces() int {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return DefaultMaxActiveVMs
	}
	mib := int(info.Totalram * uint64(info.Unit) >> 20)
	if limit, ok := memoryLimit(); ok {
		mib = min(mib, limit)
	}
	return places(mib, runtime.GOMAXPROCS(0)) // It knows of a container's share of the processors.
}

// memoryLimit is what the container that we are in may have, in MiB, if it has a limit.
func memoryLimit() (mib int, limited bool) {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile("/sys/fs/cgroup/" + name)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return int(n >> 20), err == nil && n > 0
	}
	return 0, false
}
