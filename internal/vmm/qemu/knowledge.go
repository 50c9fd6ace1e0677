package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// knowledge is what is known about this host and its QEMU. It is remembered from one process to the next in
// two files, each with all that it rests on: the version by whoever asked QEMU for it, the verdict only by
// who has booted a guest, under the lock.
type knowledge struct {
	release release
	verdict verdict
}

// release is the content of the first file.
type release struct {
	Format    int       `json:"format"`
	QEMU      program   `json:"qemu"`
	Version   string    `json:"version"`
	Abilities abilities `json:"abilities"`
}

// releaseFormat is raised if more is asked of QEMU than before.
const releaseFormat = 1

// verdict is the content of the second.
type verdict struct {
	Release release     `json:"release"`
	BootID  string      `json:"boot_id"`
	Kernel  string      `json:"kernel"`
	CPU     string      `json:"cpu,omitempty"` // the model with which a guest booted
	KVM     vmm.Verdict `json:"kvm"`
	// TimedOut is that the guest only took too long, as it may on a host that is busy. It is tried again
	// later, and ever more seldom.
	TimedOut bool      `json:"timed_out,omitempty"`
	Tries    int       `json:"tries,omitempty"`
	At       time.Time `json:"at"`
}

// How long a verdict by timeout stands, at first and at most.
const (
	firstRetry = 10 * time.Minute
	lastRetry  = 24 * time.Hour
)

// stands tells whether a verdict needs no other trial yet.
func (v verdict) stands(now time.Time) bool {
	if !v.KVM.Tried || !v.TimedOut {
		return v.KVM.Tried
	}
	wait := lastRetry
	if shift := v.Tries - 1; shift < 8 {
		wait = min(wait, firstRetry<<max(shift, 0))
	}
	since := now.Sub(v.At)
	return since >= 0 && since < wait
}

const (
	releaseFile = "qemu.json"
	verdictFile = "kvm.json"
	lockFile    = "kvm.lock"
	maxFile     = 64 << 10
)

// know returns what is known, asking QEMU if need be.
func (d *Driver) know(ctx context.Context) (knowledge, error) {
	now, err := find(d.options.Binary)
	if err != nil {
		return knowledge{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known.release.QEMU == now {
		return d.known, nil
	}
	k := knowledge{release: load[release](d, releaseFile)}
	if k.release.QEMU != now || k.release.Version == "" || k.release.Format != releaseFormat {
		version, err := askVersion(ctx, now)
		if err != nil {
			return knowledge{}, err
		}
		can, err := askAbilities(ctx, now)
		if err != nil {
			return knowledge{}, err
		}
		k.release = release{
			Format:    releaseFormat,
			QEMU:      now,
			Version:   version,
			Abilities: can,
		}
		d.save(releaseFile, k.release)
	}
	k.verdict = d.loadVerdict(k.release)
	d.known = k
	return k, nil
}

// loadVerdict returns the verdict that is remembered, or one that says nothing if that is about another
// QEMU, kernel or boot of the host.
func (d *Driver) loadVerdict(r release) verdict {
	fresh := verdict{Release: r}
	fresh.BootID, fresh.Kernel = host()
	v := load[verdict](d, verdictFile)
	if v.Release != r || v.BootID != fresh.BootID || v.Kernel != fresh.Kernel {
		return fresh
	}
	return v
}

// learn makes a verdict that of this driver.
func (d *Driver) learn(v verdict) {
	d.mu.Lock()
	d.known.verdict = v
	d.mu.Unlock()
}

// host tells this boot of this kernel from all others.
func host() (bootID, kernel string) {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(id)), strings.TrimSpace(string(release))
}

func (d *Driver) path(name string) string { return filepath.Join(d.options.CacheDir, name) }

// load reads a file. One that is missing or damaged knows nothing.
func load[T any](d *Driver, name string) T {
	var got, nothing T
	if d.options.CacheDir == "" {
		return nothing
	}
	data, err := os.ReadFile(d.path(name))
	if err != nil || len(data) > maxFile || json.Unmarshal(data, &got) != nil {
		return nothing
	}
	return got
}

// save writes a file. That it cannot is no failure: the next process finds out anew.
func (d *Driver) save(name string, content any) {
	if d.options.CacheDir == "" {
		return
	}
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil || os.MkdirAll(d.options.CacheDir, 0o700) != nil {
		return
	}
	temporary, err := os.CreateTemp(d.options.CacheDir, "."+name+"-*")
	if err != nil {
		return
	}
	_, err = temporary.Write(append(data, '\n'))
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), d.path(name))
	}
	if err != nil {
		os.Remove(temporary.Name())
	}
}

// lock keeps other processes from probing at the same time; it waits for them, until ctx ends.
func (d *Driver) lock(ctx context.Context) (unlock func(), err error) {
	if d.options.CacheDir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(d.options.CacheDir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(d.path(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	got := make(chan error, 1)
	go func() { got <- flock(file) }()
	select {
	case err := <-got:
		if err != nil {
			file.Close()
			return nil, &fs.PathError{Op: "lock", Path: file.Name(), Err: err}
		}
		return func() { file.Close() }, nil
	case <-ctx.Done():
		go func() { <-got; file.Close() }() // ends when the other process has probed, which is bounded
		return nil, ctx.Err()
	}
}

func flock(file *os.File) error {
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
