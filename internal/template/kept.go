package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Kept is what a guest is to go on from, in the directory "kept" of its VM: a paused guest, or a snapshot
// that it was forked from or rolled back to. It is there whole or not at all, and is gone before the
// guest's first instruction, so that a disk never meets the memory of another moment.
type Kept struct {
	Memory bool   `json:"memory"` // the guest's memory and devices are there
	VMM    string `json:"vmm,omitempty"`
	Host   bool   `json:"host,omitempty"` // see [Snapshot].Host

	dir string
	vm  string // the VM's directory, while it is being made
}

const (
	keptDir  = "kept"
	keptFile = "kept.json"
)

// FindKept gives what a VM is to go on from, or nil if it is to boot.
func FindKept(vmDir string) (*Kept, error) {
	dir := filepath.Join(vmDir, keptDir)
	data, err := os.ReadFile(filepath.Join(dir, keptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := &Kept{dir: dir}
	if err := json.Unmarshal(data, k); err != nil {
		return nil, fmt.Errorf("what the VM is to go on from is damaged: %w", err)
	}
	return k, nil
}

// Keep has a VM go on from what fill puts into a directory, instead of what it would have gone on from.
func Keep(vmDir string, fill func(dir string, k *Kept) error) error {
	tmp := filepath.Join(vmDir, keptDir+".tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	k := Kept{dir: tmp, vm: vmDir}
	if err := fill(tmp, &k); err != nil {
		return err
	}
	return k.Commit()
}

// Commit has the VM go on from what is kept, once all parts are there. [Keep] does so when fill has returned,
// unless fill has: a guest that is to be ended for it stands still meanwhile, and can still go on.
func (k *Kept) Commit() error {
	if k.vm == "" {
		return nil
	}
	if err := writeMeta(filepath.Join(k.dir, keptFile), k); err != nil {
		return err
	}
	final := filepath.Join(k.vm, keptDir)
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if err := os.Rename(k.dir, final); err != nil {
		return err
	}
	err := syncFile(k.vm)
	k.dir, k.vm = final, ""
	return err
}

// Keep has a VM go on from a snapshot.
func (s Snapshot) Keep(vmDir string) error {
	return Keep(vmDir, func(dir string, k *Kept) error {
		k.Memory, k.VMM, k.Host = s.Memory, s.VMM, s.Host
		if s.Memory {
			for _, name := range []string{baseFile, pagesFile, stateFile} {
				err := link(filepath.Join(s.dir, name), filepath.Join(dir, name))
				if err != nil && !(name == baseFile && errors.Is(err, fs.ErrNotExist)) {
					return err
				}
			}
		}
		return CloneDisk(filepath.Join(s.dir, scratchFile), filepath.Join(dir, scratchFile))
	})
}

// link gives a file another name, or copies it if that is on another file system.
func link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return CloneDisk(from, to)
}

// LinkBase gives the memory that a guest starts from a name in its VM's directory, so that it is there for
// its snapshots, whatever is pruned meanwhile.
func LinkBase(memory, vmDir string) (string, error) {
	path := filepath.Join(vmDir, baseFile)
	if memory == path {
		return path, nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return path, link(memory, path)
}

// Parts are the files by which a guest is kept.
type Parts struct{ Base, Pages, State, Scratch string }

// PartsIn names the parts in a directory.
func PartsIn(dir string) Parts {
	return Parts{
		Base:    filepath.Join(dir, baseFile),
		Pages:   filepath.Join(dir, pagesFile),
		State:   filepath.Join(dir, stateFile),
		Scratch: filepath.Join(dir, scratchFile),
	}
}

// Parts names the parts of what is kept.
func (k *Kept) Parts() Parts { return PartsIn(k.dir) }

// TakeDisk makes the disk that was kept, if one was, that of the VM. An archive of a workspace is none.
func (k *Kept) TakeDisk(scratch string) error {
	if k.Host {
		return nil
	}
	if err := os.Rename(k.Parts().Scratch, scratch); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Drop removes what is kept: the guest has gone on from it, or cannot. Its disk must have been taken.
func (k *Kept) Drop() error {
	gone := k.dir + ".gone"
	return errors.Join(os.RemoveAll(gone), os.Rename(k.dir, gone), os.RemoveAll(gone))
}
