package environment

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pyro-mcp/pyro/internal/image"
)

// boxedFile is an image's other form beside it.
const boxedFile = "boxed.erofs"

// Boxed returns the path of an image, of which the path is given, in the form for a guest whose kernel is a
// program of the host's: that maps files out of the image, so that each has its content in whole blocks,
// and it knows no extended attributes there. It is made once, in own if the store may only be read, and goes
// when the image goes.
func (s *Store) Boxed(ctx context.Context, base, own string) (string, error) {
	path := filepath.Join(filepath.Dir(base), boxedFile)
	if exists(path) {
		return path, nil
	}
	spare := Open(own).path("images", filepath.Base(filepath.Dir(base)), boxedFile)
	if exists(spare) {
		return spare, nil
	}
	in, err := os.Open(base)
	if err != nil {
		return "", err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", err
	}
	tree, err := image.ReadEROFS(in, info.Size())
	if err == nil {
		path, err = writeEither(path, spare, func(path string) error { return writeImage(ctx, path, tree) })
	}
	if err != nil {
		return "", fmt.Errorf("cannot make the image for a guest without a virtual machine: %w", err)
	}
	return path, nil
}

// BoxedRoot returns the path of the small image that such a guest starts on, with the agent in it. It is
// made once, in own if the store may only be read.
func (s *Store) BoxedRoot(ctx context.Context, agent Agent, own string) (string, error) {
	name := "boxed" + initrdSeparator + agent.SHA256
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
	tree := image.NewTree()
	err = tree.Add("init", image.Entry{Mode: 0o755, Data: program})
	for _, dir := range []string{"base", "dev", "newroot", "proc", "scratch", "sys", "tmp"} {
		if err == nil {
			err = tree.Add(dir, image.Entry{Mode: fs.ModeDir | 0o755})
		}
	}
	if err == nil {
		path, err = writeEither(path, spare, func(path string) error { return writeImage(ctx, path, tree) })
	}
	if err != nil {
		return "", fmt.Errorf("cannot make the image that a guest starts on: %w", err)
	}
	return path, nil
}

func writeImage(ctx context.Context, path string, tree *image.Tree) error {
	return writeStream(path, func(w *os.File) error {
		_, err := tree.WriteEROFS(ctx, w, image.EROFSOptions{Mappable: true})
		return err
	})
}
