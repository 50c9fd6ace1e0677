package environment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pyro-mcp/pyro/internal/image"
)

// initrdSeparator stands between the parts of an initramfs's name: the kernel's key and the agent's digest.
const initrdSeparator = "+"

// Agent is the program that a guest begins with. Its digest is known without reading it: who has its
// initramfs need not.
type Agent struct {
	SHA256 string
	Open   func() ([]byte, error)
}

// Initrd returns the path of the initramfs for a kernel and an agent's executable: /init, /modules/NAME.ko
// and /modules/order, one name a line. It is made once, in own if the store may only be read.
func (s *Store) Initrd(ctx context.Context, k Kernel, agent Agent, own string) (string, error) {
	key := filepath.Base(filepath.Dir(k.Path))
	name := key + initrdSeparator + agent.SHA256
	path, spare := s.path("initrds", name), Open(own).path("initrds", name)
	for _, made := range []string{path, spare} {
		if exists(made) {
			return made, nil
		}
	}
	program, err := agent.Open()
	if err != nil {
		return "", err
	}
	files := []image.InitFile{{Path: "init", Mode: 0o755, Data: program}}
	order := ""
	for _, name := range k.Modules {
		data, err := os.ReadFile(filepath.Join(k.ModulesDir, name+moduleSuffix))
		if err != nil {
			return "", fmt.Errorf("cannot make the initramfs: %w", err)
		}
		files = append(files, image.InitFile{Path: "modules/" + name + moduleSuffix, Mode: 0o644, Data: data})
		order += name + "\n"
	}
	files = append(files, image.InitFile{Path: "modules/order", Mode: 0o644, Data: []byte(order)})
	if err := ctx.Err(); err != nil {
		return "", err
	}
	path, err = writeEither(path, spare, func(path string) error { return writeInitrd(path, files) })
	if err != nil {
		return "", fmt.Errorf("cannot make the initramfs: %w", NoSpace(err))
	}
	return path, nil
}

// digestSuffix ends the name of the file with an initramfs's digest.
const digestSuffix = ".sha256"

// writeInitrd writes an initramfs, its digest first: one without is made again (see Store.Verify).
func writeInitrd(path string, files []image.InitFile) error {
	sum := sha256.New()
	if err := image.WriteInitramfs(sum, files); err != nil {
		return err
	}
	if err := WriteFile(path+digestSuffix, []byte(hex.EncodeToString(sum.Sum(nil))+"\n")); err != nil {
		return err
	}
	return writeStream(path, func(w *os.File) error { return image.WriteInitramfs(w, files) })
}

// writeStream is WriteFile for what is produced as it is written.
func writeStream(path string, produce func(*os.File) error) error {
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
