package environment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// kernelFile describes the kernel of a directory of kernels/; the paths in it are relative to that directory.
const kernelFile = "kernel.json"

// What else is in it.
const (
	kernelImage   = "vmlinux"
	kernelModules = "modules"
	moduleSuffix  = ".ko"
)

// keptKernel is what describes a kernel in its own directory.
type keptKernel struct {
	Kernel
	ModuleSHA256 map[string]string `json:"module_sha256,omitempty"` // by the module's name
}

// KernelFiles is a kernel to be kept in the store.
type KernelFiles struct {
	Version, Package string
	Image            []byte            // an uncompressed ELF vmlinux, or the boot image as packaged
	Modules          map[string][]byte // by name
	Order            []string          // of loading
}

// Kernel returns the kernel kept under key, which names what it is made of and how, and calls build if there
// is none yet. Two pulls at once build it once.
func (w *Workshop) Kernel(
	ctx context.Context, key string, build func() (KernelFiles, error),
) (Kernel, error) {
	l, err := takeLock(ctx, w.store.path("locks", "kernel-"+fileName(key)), unix.LOCK_EX)
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot lock the kernel %q: %w", key, err)
	}
	defer l.unlock()
	dir := w.store.path("kernels", fileName(key))
	if k, err := loadKernel(dir); err == nil {
		var damaged *DamagedError
		if err := verifyKernel(ctx, k); !errors.As(err, &damaged) {
			return k, err
		}
	}
	files, err := build()
	if err != nil {
		return Kernel{}, err
	}
	temp := filepath.Join(w.dir.path, "kernel-"+fileName(key))
	err = writeKernel(temp, files)
	if err == nil {
		err = replaceKernel(temp, dir)
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot keep the kernel %q: %w", files.Package, err)
	}
	return loadKernel(dir)
}

// replaceKernel gives a kernel its final place, where one that is damaged may stand, and those who use it
// beside it. The description comes last: without it the next pull does the same.
func replaceKernel(from, to string) error {
	old, err := os.ReadDir(to)
	if errors.Is(err, fs.ErrNotExist) {
		return commitDir(from, to, kernelFile)
	}
	if err == nil {
		err = remove(filepath.Join(to, kernelFile))
	}
	if err != nil {
		return err
	}
	for _, d := range old {
		if d.Name() == usersDir {
			continue
		}
		if err := os.RemoveAll(filepath.Join(to, d.Name())); err != nil {
			return err
		}
	}
	for _, name := range []string{kernelImage, kernelModules, kernelFile} {
		err := os.Rename(filepath.Join(from, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(to)
}

func writeKernel(dir string, files KernelFiles) error {
	sum := sha256.Sum256(files.Image)
	k := keptKernel{ModuleSHA256: map[string]string{}, Kernel: Kernel{
		Version:    files.Version,
		Package:    files.Package,
		SHA256:     hex.EncodeToString(sum[:]),
		Path:       kernelImage,
		ModulesDir: kernelModules,
		Modules:    files.Order,
	}}
	for name, data := range files.Modules {
		sum := sha256.Sum256(data)
		k.ModuleSHA256[name] = hex.EncodeToString(sum[:])
	}
	description, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	err = WriteFile(filepath.Join(dir, k.Path), files.Image)
	for name, data := range files.Modules {
		err = errors.Join(err, WriteFile(filepath.Join(dir, k.ModulesDir, name+moduleSuffix), data))
	}
	return errors.Join(err, WriteFile(filepath.Join(dir, kernelFile), description))
}

func loadKernel(dir string) (Kernel, error) {
	k, err := loadKept(dir)
	return k.Kernel, err
}

func loadKept(dir string) (keptKernel, error) {
	data, err := readSmall(filepath.Join(dir, kernelFile), maxManifest)
	if err != nil {
		return keptKernel{}, err
	}
	var k keptKernel
	if err := json.Unmarshal(data, &k); err != nil {
		return keptKernel{}, err
	}
	if !filepath.IsLocal(k.Path) || !filepath.IsLocal(k.ModulesDir) {
		return keptKernel{}, fmt.Errorf("the kernel in %q has paths outside of it", dir)
	}
	k.Path, k.ModulesDir = filepath.Join(dir, k.Path), filepath.Join(dir, k.ModulesDir)
	_, err = os.Stat(k.Path)
	return k, err
}
