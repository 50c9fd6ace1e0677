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
// environment, what dead pulls left. It does not wait: where Hold or Pull is at work it fails with ErrBusy.
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
	p := pruner{store: s, used: map[string]bool{}}
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
	used   map[string]bool
	result PruneResult
}

func (p *pruner) mark(r PruneRequest) error {
	for _, digest := range r.InUse {
		p.used["images/"+digest] = true
	}
	kernels, err := filepath.Glob(p.store.path("kernels", "*"))
	if err != nil {
		return err
	}
	for _, dir := range kernels {
		if k, err := loadKernel(dir); err == nil && slices.Contains(r.InUse, k.SHA256) {
			p.used["kernels/"+filepath.Base(dir)] = true
		}
	}
	installed, err := p.store.manifests()
	if err != nil {
		return err
	}
	for _, m := range installed {
		if r.All && !slices.Contains(r.InUse, m.Image.SHA256) {
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
		if err := os.RemoveAll(path); err != nil {
			return err
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
