package environment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/image"
)

// kernelFile describes the kernel of a directory of kernels/; the paths in it are relative to that directory.
const kernelFile = "kernel.json"

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
		return k, nil
	}
	files, err := build()
	if err != nil {
		return Kernel{}, err
	}
	// One that cannot be loaded is in the way of its successor.
	if err := os.RemoveAll(dir); err != nil {
		return Kernel{}, err
	}
	temp := filepath.Join(w.dir.path, "kernel-"+fileName(key))
	err = writeKernel(temp, files)
	if err == nil {
		err = commitDir(temp, dir)
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot keep the kernel %q: %w", files.Package, err)
	}
	return loadKernel(dir)
}

func writeKernel(dir string, files KernelFiles) error {
	sum := sha256.Sum256(files.Image)
	k := Kernel{
		Version:    files.Version,
		Package:    files.Package,
		SHA256:     hex.EncodeToString(sum[:]),
		Path:       "vmlinux",
		ModulesDir: "modules",
		Modules:    files.Order,
	}
	description, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	err = WriteFile(filepath.Join(dir, k.Path), files.Image)
	for name, data := range files.Modules {
		err = errors.Join(err, WriteFile(filepath.Join(dir, k.ModulesDir, name+".ko"), data))
	}
	return errors.Join(err, WriteFile(filepath.Join(dir, kernelFile), description))
}

func loadKernel(dir string) (Kernel, error) {
	data, err := os.ReadFile(filepath.Join(dir, kernelFile))
	if err != nil {
		return Kernel{}, err
	}
	var k Kernel
	if err := json.Unmarshal(data, &k); err != nil {
		return Kernel{}, err
	}
	if !filepath.IsLocal(k.Path) || !filepath.IsLocal(k.ModulesDir) {
		return Kernel{}, fmt.Errorf("the kernel in %q has paths outside of it", dir)
	}
	k.Path, k.ModulesDir = filepath.Join(dir, k.Path), filepath.Join(dir, k.ModulesDir)
	_, err = os.Stat(k.Path)
	return k, err
}

// initrdSeparator stands between the parts of an initramfs's name: the kernel's key and the agent's digest.
const initrdSeparator = "+"

// Agent is the program that a guest begins with. Its digest is known without reading it: who has its
// initramfs need not.
type Agent struct {
	SHA256 string
	Open   func() ([]byte, error)
}

// Initrd returns the path of the initramfs for a kernel and an agent's executable: /init, /modules/NAME.ko
// and /modules/order, one name a line. It is made once.
func (s *Store) Initrd(ctx context.Context, k Kernel, agent Agent) (string, error) {
	key := filepath.Base(filepath.Dir(k.Path))
	path := s.path("initrds", key+initrdSeparator+agent.SHA256)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	program, err := agent.Open()
	if err != nil {
		return "", err
	}
	files := []image.InitFile{{Path: "init", Mode: 0o755, Data: program}}
	order := ""
	for _, name := range k.Modules {
		data, err := os.ReadFile(filepath.Join(k.ModulesDir, name+".ko"))
		if err != nil {
			return "", fmt.Errorf("cannot make the initramfs: %w", err)
		}
		files = append(files, image.InitFile{Path: "modules/" + name + ".ko", Mode: 0o644, Data: data})
		order += name + "\n"
	}
	files = append(files, image.InitFile{Path: "modules/order", Mode: 0o644, Data: []byte(order)})
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := s.writeStream(path, func(w io.Writer) error {
		return image.WriteInitramfs(w, files)
	}); err != nil {
		return "", fmt.Errorf("cannot make the initramfs: %w", err)
	}
	return path, nil
}

// writeStream is WriteFile for what is produced as it is written.
func (s *Store) writeStream(path string, produce func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	err = produce(f)
	return commit(f, path, errors.Join(err, f.Chmod(fs.FileMode(0o644))))
}
