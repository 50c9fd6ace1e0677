package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/image"
)

// job is an image to be built.
type job struct {
	w       *environment.Workshop
	ref     reference
	from    origin
	found   found
	run     environment.Config
	options Options
}

// unpackers is how many layers are decompressed at a time.
const unpackers = 2

// build makes the environment's image: layers are decompressed as they arrive, flattened in memory, and
// written once.
func (j *job) build(ctx context.Context) (m environment.Manifest, err error) {
	layers := j.distinct()
	tars := make([]plain, len(layers))
	defer func() {
		for _, t := range tars {
			if t.file != nil {
				err = errors.Join(err, t.file.Close())
			}
		}
	}()
	kernel, err := j.fetch(ctx, layers, tars)
	if err != nil {
		return m, err
	}
	j.w.Phase(environment.PhaseUnpack, "putting the layers together")
	tree, err := j.flatten(ctx, layers, tars)
	if err != nil {
		return m, err
	}
	j.w.Phase(environment.PhaseImage, "writing the image")
	file, err := j.w.Image(ctx, func(f *os.File) error {
		_, err := tree.WriteEROFS(ctx, f, image.EROFSOptions{BuildTime: j.found.config.Created.Time})
		return err
	})
	if err != nil {
		return m, err
	}
	return j.manifest(file, kernel, layers), nil
}

// distinct lists each layer once.
func (j *job) distinct() []layer {
	var once []layer
	seen := map[string]bool{}
	for _, l := range j.found.layers {
		if !seen[l.key()] {
			seen[l.key()] = true
			once = append(once, l)
		}
	}
	return once
}

// fetch brings the layers and the kernel, and decompresses each layer as soon as it is there.
func (j *job) fetch(
	ctx context.Context, layers []layer, tars []plain,
) (kernel environment.Kernel, err error) {
	j.w.Phase(environment.PhaseDownload, "downloading and unpacking layers")
	j.w.Update(func(p *environment.Progress) { p.TotalPackages = len(layers) })
	slots := semaphore.NewWeighted(unpackers)
	u := newUnpacker(j.w.Dir())
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if kernel, err = j.options.Kernel(gctx, j.w); err != nil {
			err = fmt.Errorf("cannot get the kernel that images boot with: %w", err)
		}
		return err
	})
	err = j.from.fetch(gctx, layers, func(i int, b stored) error {
		// In a goroutine of its own, so that decompression does not hold up the downloads.
		g.Go(func() (err error) {
			if err := slots.Acquire(gctx, 1); err != nil {
				return err
			}
			defer slots.Release(1)
			if tars[i], err = u.unpack(gctx, layers[i], b); err != nil {
				err = fmt.Errorf("cannot use layer %s: %w", layers[i].name(), err)
			}
			j.w.Update(func(p *environment.Progress) { p.Packages++ })
			return err
		})
		return gctx.Err()
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		_ = g.Wait() // what else failed did so for it
		return kernel, err
	}
	return kernel, errors.Join(g.Wait(), ctx.Err())
}

func (l layer) name() string {
	return cmp.Or(l.file, l.digest.String())
}

// flatten lays the layers over one another.
func (j *job) flatten(ctx context.Context, layers []layer, tars []plain) (*image.Tree, error) {
	at := map[string]plain{}
	for i, l := range layers {
		at[l.key()] = tars[i]
	}
	tree := image.NewTree()
	for i, l := range j.found.layers {
		t := at[l.key()]
		if err := tree.Apply(ctx, t.file, t.size,
			image.ApplyOptions{Whiteouts: true, Unique: true, MaxContent: t.mayHold()}); err != nil {
			return nil, fmt.Errorf("cannot use layer %d of %d, %s: %w", i+1, len(j.found.layers), l.name(),
				err)
		}
	}
	return tree, nil
}

func (j *job) manifest(
	file environment.File, kernel environment.Kernel, layers []layer,
) environment.Manifest {
	labels := j.found.config.Config.Labels
	m := environment.Manifest{
		Version: clean(cmp.Or(labels["org.opencontainers.image.version"], j.found.digest.Hex[:12]), 40),
		Source:  "oci",
		Description: clean(cmp.Or(labels["org.opencontainers.image.title"],
			labels["org.opencontainers.image.description"], "container image"), 80),
		Reference:    j.ref.pinned(j.found.digest),
		Architecture: j.options.Architecture,
		Image:        file,
		Kernel:       kernel,
		Config:       j.run,
	}
	for _, l := range layers {
		m.DownloadedBytes += l.size
		m.Layers = append(m.Layers, environment.Layer{MediaType: l.mediaType,
			SHA256: cmp.Or(l.digest.Hex, l.diffID.Hex), Size: l.size})
	}
	return m
}
