package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// prober is a driver whose KVM is a file.
func prober(t *testing.T, options Options) *Driver {
	t.Helper()
	options.Binary = fake(t, "8.0.0")
	if options.KVMDevice == "" {
		options.KVMDevice = filepath.Join(t.TempDir(), "kvm")
		if err := os.WriteFile(options.KVMDevice, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	driver, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return driver
}

func neverBoot(t *testing.T) vmm.Boot {
	return func(context.Context, vmm.Accelerator) error {
		t.Error("a guest is booted")
		return nil
	}
}

func TestProbeRemembers(t *testing.T) {
	driver := prober(t, Options{CacheDir: t.TempDir()})
	boots := 0
	choice, err := driver.Accelerator(t.Context(), vmm.Auto,
		func(_ context.Context, a vmm.Accelerator) error { boots++; return nil })
	if err != nil || choice.Accelerator != vmm.KVM || !choice.KVM.Usable || choice.KVM.Reason != "" ||
		boots != 1 {
		t.Errorf("got %+v, %v after %d boots", choice, err, boots)
	}
	again, err := New(driver.options)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Accelerator(t.Context(), vmm.Auto, neverBoot(t)); err != nil || got != choice {
		t.Errorf("got %+v, %v from memory", got, err)
	}
	// Another boot of the host: the memory is of no use.
	v := load[verdict](again, verdictFile)
	v.BootID = "another"
	again.save(verdictFile, v)
	third, _ := New(driver.options)
	if _, err := third.Accelerator(t.Context(), vmm.Auto,
		func(context.Context, vmm.Accelerator) error { boots++; return nil }); err != nil || boots != 2 {
		t.Errorf("%d boots (%v)", boots, err)
	}
}

func TestProbeTriesOtherModels(t *testing.T) {
	driver := prober(t, Options{CacheDir: t.TempDir()})
	var models []string
	boot := func(ctx context.Context, a vmm.Accelerator) error {
		k, err := driver.know(ctx)
		if err != nil {
			return err
		}
		models = append(models, driver.cpu(a, k))
		if len(models) == 1 {
			return errors.New("Failed to set MSR.")
		}
		return nil
	}
	choice, err := driver.Accelerator(t.Context(), vmm.KVM, boot)
	if err != nil || !choice.KVM.Usable || len(models) != 2 || models[0] == models[1] {
		t.Errorf("got %+v, %v with models %q", choice, err, models)
	}
	print, err := driver.Fingerprint(t.Context(), vmm.KVM)
	driver.trying = models[0]
	other, otherErr := driver.Fingerprint(t.Context(), vmm.KVM)
	if err != nil || otherErr != nil || print == other {
		t.Errorf("the fingerprints of %q are %q and %q, %v %v", models, other, print, err, otherErr)
	}
}

func TestProbeGivesUp(t *testing.T) {
	driver := prober(t, Options{CacheDir: t.TempDir(), ProbeTimeout: 20 * time.Millisecond})
	hang := func(ctx context.Context, _ vmm.Accelerator) error { <-ctx.Done(); return ctx.Err() }
	choice, err := driver.Accelerator(t.Context(), vmm.Auto, hang)
	if err != nil || choice.Accelerator != vmm.TCG || !choice.KVM.Accessible || choice.KVM.Usable {
		t.Errorf("got %+v, %v", choice, err)
	}
	if again, err := driver.Accelerator(t.Context(), vmm.Auto, neverBoot(t)); err != nil || again != choice {
		t.Errorf("got %+v, %v from memory", again, err)
	}
	_, err = driver.Accelerator(t.Context(), vmm.KVM, hang)
	if !errors.Is(err, vmm.ErrKVM) || !strings.Contains(err.Error(), "within 20ms") {
		t.Errorf("forced: %v", err)
	}
	// Who asks for it by its name has it tried at once.
	works := func(context.Context, vmm.Accelerator) error { return nil }
	if choice, err = driver.Accelerator(t.Context(), vmm.KVM, works); err != nil || !choice.KVM.Usable {
		t.Errorf("forced again: %+v, %v", choice, err)
	}
	choice, err = driver.Accelerator(t.Context(), vmm.Auto, neverBoot(t))
	if err != nil || !choice.KVM.Usable {
		t.Errorf("got %+v, %v from memory", choice, err)
	}
}

// A trial that only took too long is done again later, and at once after Reconsider; one that failed is not.
func TestProbeIsRepeated(t *testing.T) {
	hang := func(ctx context.Context, _ vmm.Accelerator) error { <-ctx.Done(); return ctx.Err() }
	fail := func(context.Context, vmm.Accelerator) error { return errors.New("no such register") }
	for name, c := range map[string]struct {
		boot  vmm.Boot
		again bool
	}{"timeout": {hang, true}, "failure": {fail, false}} {
		driver := prober(t, Options{CacheDir: t.TempDir(), ProbeTimeout: 20 * time.Millisecond})
		if _, err := driver.Accelerator(t.Context(), vmm.Auto, c.boot); err != nil {
			t.Fatal(err)
		}
		if err := driver.Reconsider(t.Context()); err != nil {
			t.Fatal(err)
		}
		tried := false
		_, err := driver.Accelerator(t.Context(), vmm.Auto, func(context.Context, vmm.Accelerator) error {
			tried = true
			return nil
		})
		if err != nil || tried != c.again {
			t.Errorf("%s: tried again: %v, %v", name, tried, err)
		}
	}
	now := time.Now()
	for _, c := range []struct {
		tries int
		after time.Duration
		want  bool
	}{{1, time.Minute, true}, {1, 11 * time.Minute, false}, {3, 11 * time.Minute, true},
		{3, 41 * time.Minute, false}, {100, 23 * time.Hour, true}, {100, 25 * time.Hour, false},
		{1, -time.Hour, false}} {
		v := verdict{
			KVM:      vmm.Verdict{Tried: true},
			TimedOut: true,
			Tries:    c.tries,
			At:       now.Add(-c.after),
		}
		if got := v.stands(now); got != c.want {
			t.Errorf("after %d trials and %v it stands: %v", c.tries, c.after, got)
		}
	}
}

func TestProbeCancelledLearnsNothing(t *testing.T) {
	driver := prober(t, Options{CacheDir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := driver.Accelerator(ctx, vmm.Auto, func(context.Context, vmm.Accelerator) error {
		cancel()
		return errors.New("killed")
	})
	if v := load[verdict](driver, verdictFile); !errors.Is(err, context.Canceled) || v.KVM.Tried {
		t.Errorf("got %v, and remembers %+v", err, v)
	}
}

func TestNoDevice(t *testing.T) {
	driver := prober(t, Options{KVMDevice: "/dev/no-such-device"})
	if choice, err := driver.Accelerator(t.Context(), vmm.Auto, neverBoot(t)); err != nil ||
		choice.Accelerator != vmm.TCG || choice.KVM.Exists {
		t.Errorf("got %+v, %v", choice, err)
	}
	if _, err := driver.Accelerator(t.Context(), vmm.KVM, neverBoot(t)); !errors.Is(err, vmm.ErrKVM) {
		t.Errorf("forced: %v", err)
	}
	if _, err := driver.Accelerator(t.Context(), "magic", neverBoot(t)); err == nil {
		t.Error("magic is taken")
	}
}

func TestOneProbesWhileOthersWait(t *testing.T) {
	first := prober(t, Options{CacheDir: t.TempDir()})
	var boots atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		driver, err := New(first.options)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			choice, err := driver.Accelerator(t.Context(), vmm.Auto,
				func(context.Context, vmm.Accelerator) error { boots.Add(1); return nil })
			if err != nil || !choice.KVM.Usable {
				t.Errorf("got %+v, %v", choice, err)
			}
		})
	}
	all.Wait()
	if boots.Load() != 1 {
		t.Errorf("%d guests were booted", boots.Load())
	}
}
