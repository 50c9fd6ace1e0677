package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/image"
)

// kernelRecipe changes when what is taken from a kernel's package does.
const kernelRecipe = "3"

// kernelPackage finds the kernel of a suite: the package that the cloud kernel's meta package depends on.
func (u *universe) kernelPackage() (*binary, error) {
	meta, err := u.versions("linux-image-cloud-" + u.arch)
	if err != nil {
		return nil, err
	}
	for _, m := range meta {
		for _, c := range m.depends {
			versions, err := u.versions(c[0].name)
			if err != nil {
				return nil, err
			}
			for _, b := range versions {
				if b.satisfies(c[0], u.arch) {
					return b, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("the archive has no package linux-image-cloud-%s, or not what it depends on",
		u.arch)
}

// keepKernel takes the kernel and the modules that a guest needs out of a package's file.
func keepKernel(
	ctx context.Context, w *environment.Workshop, b *binary, file string,
) (environment.Kernel, error) {
	return w.Kernel(ctx, b.sha256+"-"+kernelRecipe, func() (environment.KernelFiles, error) {
		k, err := readKernel(ctx, w, file)
		k.Package = b.name + "=" + b.version
		if err != nil {
			return k, fmt.Errorf("cannot take the kernel from %s: %w", b, err)
		}
		return k, nil
	})
}

func readKernel(ctx context.Context, w *environment.Workshop, file string) (environment.KernelFiles, error) {
	var k environment.KernelFiles
	p, err := unpack(w.Dir(), file)
	if err != nil {
		return k, err
	}
	defer p.spool.Close()
	tree := image.NewTree()
	if err := p.apply(ctx, tree); err != nil {
		return k, err
	}
	read := func(name string) ([]byte, error) {
		r, err := tree.Open(name)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	modules := moduleSet{paths: map[string]string{}, builtin: map[string]bool{},
		read: func(name string) ([]byte, error) {
			data, err := read(name)
			if err != nil {
				return nil, err
			}
			plain, err := decompress(bytes.NewReader(data), strings.TrimPrefix(path.Ext(name), ".ko"))
			if err != nil {
				return nil, err
			}
			defer plain.Close()
			return io.ReadAll(plain)
		}}
	var boot, builtin string
	err = tree.Walk(func(name string, e image.Entry) error {
		switch base := path.Base(name); {
		case strings.HasPrefix(name, "boot/vmlinuz-"):
			boot, k.Version = name, strings.TrimPrefix(base, "vmlinuz-")
		case base == "modules.builtin":
			builtin = name
		case e.Mode.IsRegular() && strings.Contains(base, ".ko"):
			modules.paths[moduleName(name)] = name
		}
		return nil
	})
	if err == nil && (boot == "" || builtin == "") {
		err = errors.New("it holds no kernel, or no list of its built-in modules")
	}
	if err != nil {
		return k, err
	}
	list, err := read(builtin)
	if err != nil {
		return k, err
	}
	for line := range strings.Lines(string(list)) {
		modules.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	if k.Modules, k.Order, err = modules.load(guestModules()); err != nil {
		return k, err
	}
	if k.Image, err = read(boot); err != nil {
		return k, err
	}
	if plain, err := image.ExtractKernel(k.Image); err == nil {
		k.Image = plain // else the VMM has to boot what there is
	}
	return k, nil
}

// spooled is a package's file taken apart, its data in a temporary file that has no name any more.
type spooled struct {
	*deb
	spool *os.File
	size  int64
}

// unpack reads a package's file.
func unpack(dir, file string) (*spooled, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	d, err := openDeb(f, info.Size())
	if err != nil {
		return nil, err
	}
	data, err := d.data()
	if err != nil {
		return nil, fmt.Errorf("cannot read its data: %w", err)
	}
	defer data.Close()
	spool, err := os.CreateTemp(dir, "data-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(spool.Name()); err != nil {
		spool.Close()
		return nil, err
	}
	size, err := io.Copy(spool, data)
	if err != nil {
		spool.Close()
		return nil, fmt.Errorf("cannot unpack its data: %w", err)
	}
	return &spooled{d, spool, size}, nil
}

// apply lays the data over a tree by dpkg's rules.
func (s *spooled) apply(ctx context.Context, t *image.Tree) error {
	return t.Apply(ctx, s.spool, s.size, image.ApplyOptions{KeepDirLinks: true, Devices: true})
}
