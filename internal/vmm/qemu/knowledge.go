package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// knowledge is what is remembered from one process to the next. Whatever it rests on is part of it, so that
// it is dropped when QEMU or the host's kernel is another one.
type knowledge struct {
	QEMU    program     `json:"qemu"`
	Version string      `json:"version"`
	BootID  string      `json:"boot_id"`
	Kernel  string      `json:"kernel"`
	CPU     string      `json:"cpu,omitempty"` // the model under which a guest booted on KVM
	KVM     vmm.Verdict `json:"kvm"`
}

// maxKnowledge bounds the file.
const maxKnowledge = 64 << 10

// remember returns what is known about this host and its QEMU, asking QEMU for its version if need be.
func (d *Driver) remember(ctx context.Context) (knowledge, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := find(d.options.Binary)
	if err != nil {
		return knowledge{}, err
	}
	if d.known != nil && d.known.QEMU == now {
		return *d.known, nil
	}
	k := d.load()
	if k.QEMU != now || k.Version == "" {
		version, err := askVersion(ctx, now)
		if err != nil {
			return knowledge{}, err
		}
		k = knowledge{QEMU: now, Version: version}
	}
	if id, kernel := host(); k.BootID != id || k.Kernel != kernel {
		k = knowledge{QEMU: k.QEMU, Version: k.Version, BootID: id, Kernel: kernel}
	}
	d.save(k)
	d.known = &k
	return k, nil
}

// reload forgets what this process knows, since another may have learnt more.
func (d *Driver) reload(ctx context.Context) (knowledge, error) {
	d.mu.Lock()
	d.known = nil
	d.mu.Unlock()
	return d.remember(ctx)
}

// learn keeps a verdict about KVM.
func (d *Driver) learn(k knowledge) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.save(k)
	d.known = &k
}

// host tells this boot of this kernel from all others.
func host() (bootID, kernel string) {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(id)), strings.TrimSpace(string(release))
}

func (d *Driver) path(name string) string { return filepath.Join(d.options.CacheDir, name) }

// load reads the file. One that is missing or damaged knows nothing.
func (d *Driver) load() knowledge {
	var k knowledge
	if d.options.CacheDir == "" {
		return k
	}
	data, err := os.ReadFile(d.path("qemu.json"))
	if err != nil || len(data) > maxKnowledge || json.Unmarshal(data, &k) != nil {
		return knowledge{}
	}
	return k
}

// save writes the file if it says something else. That it cannot is no failure: the next process finds out anew.
func (d *Driver) save(k knowledge) {
	if d.options.CacheDir == "" || k == d.load() {
		return
	}
	data, err := json.MarshalIndent(k, "", "  ")
	if err != nil || os.MkdirAll(d.options.CacheDir, 0o700) != nil {
		return
	}
	temporary, err := os.CreateTemp(d.options.CacheDir, ".qemu-*.json")
	if err != nil {
		return
	}
	_, err = temporary.Write(append(data, '\n'))
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), d.path("qemu.json"))
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
	file, err := os.OpenFile(d.path("qemu.lock"), os.O_CREATE|os.O_RDWR, 0o600)
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
