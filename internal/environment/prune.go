package environment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Prune removes what nothing uses: images of no environment and no VM, downloads and kernels of no
// environment, what dead pulls left. It does not wait: if Hold or Pull is at work it fails with ErrBusy.
func (s *Store) Prune(ctx context.Context, r PruneRequest) (PruneResult, error) {
	if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return PruneResult{}, nil
	}
	l, err := tryLock(s.path("locks", "store"), unix.LOCK_EX)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrBusy
	}
	if err != nil {
		return PruneResult{}, fmt.Errorf("cannot prune environments: %w", err)
	}
	defer l.unlock()
	var inUse []string
	if r.InUse != nil {
		if inUse, err = r.InUse(); err != nil {
			return PruneResult{}, fmt.Errorf("cannot prune environments: %w", err)
		}
	}
	p := pruner{
		store: s,
		inUse: inUse,
		used:  map[string]bool{},
		dry:   r.DryRun,
	}
	if err := p.mark(r); err != nil {
		return p.result, err
	}
	for _, class := range []string{"environments", "images", "kernels", "initrds", "packages", "indexes",
		"blobs", "partial", "tmp"} {
		if err := p.sweep(ctx, class); err != nil {
			return p.result, fmt.Errorf("cannot prune environments: %w", err)
		}
	}
	return p.result, nil
}

// pruner gathers what is used, as paths relative to the store, and removes the rest.
type pruner struct {
	store  *Store
	inUse  []string // digests
	used   map[string]bool
	dry    bool // nothing is removed
	result PruneResult
}

func (p *pruner) mark(r PruneRequest) error {
	for _, digest := range p.inUse {
		p.used["images/"+digest] = true
	}
	if err := p.markUsers(); err != nil {
		return err
	}
	all, err := p.store.manifests()
	if err != nil {
		return err
	}
	// What a damaged one says is lost: it goes, with its image unless a VM needs that. One of a newer
	// version is whole.
	for _, err := range all.unread {
		if errors.Is(err, ErrNewer) {
			return fmt.Errorf("cannot prune environments: %w; prune with that version", err)
		}
	}
	for _, m := range all.sound {
		if r.All && !p.used["images/"+m.Image.SHA256] {
			continue
		}
		p.used["environments/"+fileName(m.Name)+manifestSuffix] = true
		for _, path := range m.paths() {
			if rel, err := filepath.Rel(p.store.dir, *path); err == nil {
				p.used[top(filepath.ToSlash(rel))] = true
			}
		}
		if r.All {
			continue
		}
		for _, pkg := range m.Packages {
			p.used["packages/"+pkg.SHA256+".deb"] = true
		}
		for _, l := range m.Layers {
			p.used["blobs/"+l.SHA256] = true
		}
	}
	return nil
}

// markUsers marks what VMs of any state directory have recorded that they need.
func (p *pruner) markUsers() error {
	for _, class := range []string{"images", "kernels"} {
		dirs, err := filepath.Glob(p.store.path(class, "*"))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			name := class + "/" + filepath.Base(dir)
			if class == "kernels" {
				k, err := loadKernel(dir)
				p.used[name] = err == nil && slices.Contains(p.inUse, k.SHA256)
			}
			if used(dir) {
				p.used[name] = true
			}
			if !p.dry {
				dropUsers(filepath.Join(dir, usersDir))
			}
		}
	}
	return nil
}

// top cuts a path to the first two elements, which is what is swept.
func top(rel string) string {
	parts := strings.SplitN(rel, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func (p *pruner) sweep(ctx context.Context, class string) error {
	names, err := os.ReadDir(p.store.path(class))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		rel := class + "/" + d.Name()
		kernel, _, _ := strings.Cut(d.Name(), initrdSeparator)
		if p.used[rel] || class == "initrds" && p.used["kernels/"+kernel] {
			continue
		}
		path := p.store.path(rel)
		size := diskUsage(path)
		if !p.dry {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
		p.result.FreedBytes += size
		p.result.Removed = append(p.result.Removed, rel)
	}
	return nil
}

// sweepTemp removes the temporary directories of processes that are no more: those whose lock is free.
func (s *Store) sweepTemp(ctx context.Context) error {
	making, err := takeLock(ctx, s.path("locks", "tmp"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer making.unlock()
	names, err := os.ReadDir(s.path("tmp"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, d := range names {
		l, lockErr := tryLock(s.path("tmp", d.Name(), tempLock), unix.LOCK_EX)
		if lockErr != nil {
			continue
		}
		err = errors.Join(err, os.RemoveAll(s.path("tmp", d.Name())))
		l.unlock()
	}
	return err
}
