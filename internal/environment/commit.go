package environment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/image"
)

// ErrBadName is in the chain of errors about a name that a committed environment cannot have.
var ErrBadName = errors.New("not a name for an environment")

// SourceTask is the source of environments that were made of a task's disk.
const SourceTask = "task"

var commitName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}(:[a-z0-9][a-z0-9._-]{0,62})?$`)

// CheckCommitName tells whether an environment may be committed under a name: none that a source gives its
// own meaning.
func (s *Store) CheckCommitName(name string) error {
	if !commitName.MatchString(name) {
		return fmt.Errorf("%q: %w: lower-case letters, digits, dots, dashes and underscores, and one colon "+
			"before a tag", name, ErrBadName)
	}
	if source, _ := s.source(name); source != nil {
		return fmt.Errorf("%q: %w: it has a meaning of its own", name, ErrBadName)
	}
	return nil
}

// CommitRequest says what to make an environment of.
type CommitRequest struct {
	Name string
	Base Boot // what the disk lies over
	// BaseSHA256 is the digest of the base's image.
	BaseSHA256 string
	Config     Config // how commands run in it
	// Changes writes what differs from the base, as one uncompressed tar with OCI whiteouts.
	Changes func(io.Writer) error
}

// Commit makes an environment of what lies over another, whole or not at all. One that was committed under
// the same name before is replaced; what uses that goes on with it.
func (s *Store) Commit(ctx context.Context, r CommitRequest) (m Manifest, err error) {
	if err := s.CheckCommitName(r.Name); err != nil {
		return Manifest{}, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot commit %q: %w", r.Name, NoSpace(err))
		}
	}()
	release, err := s.Hold(ctx)
	if err != nil {
		return Manifest{}, err
	}
	defer release()
	if err := s.sweepTemp(ctx); err != nil {
		return Manifest{}, err
	}
	l, err := takeLock(ctx, s.path("locks", fileName(r.Name)), unix.LOCK_EX)
	if err != nil {
		return Manifest{}, err
	}
	defer l.unlock()
	dir, err := s.tempDir(ctx)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	w := &Workshop{Name: r.Name, store: s, dir: dir}
	if info, err := os.Stat(r.Base.Image); err == nil && info.Mode().Perm()&0o044 == 0 {
		w.Private() // What it is made of is somebody's alone.
	}
	return s.commit(ctx, w, r)
}

func (s *Store) commit(ctx context.Context, w *Workshop, r CommitRequest) (Manifest, error) {
	changes, err := os.Create(filepath.Join(w.Dir(), "changes.tar"))
	if err != nil {
		return Manifest{}, err
	}
	defer changes.Close()
	if err := r.Changes(changes); err != nil {
		return Manifest{}, err
	}
	size, err := changes.Seek(0, io.SeekCurrent)
	if err != nil {
		return Manifest{}, err
	}
	base, tree, err := openImage(r.Base.Image)
	if err != nil {
		return Manifest{}, err
	}
	defer base.Close()
	if err := tree.Apply(ctx, changes, size, image.ApplyOptions{Whiteouts: true}); err != nil {
		return Manifest{}, fmt.Errorf("cannot lay what has changed over its base: %w", err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	file, err := w.Image(ctx, func(f *os.File) error {
		_, err := tree.WriteEROFS(ctx, f, image.EROFSOptions{BuildTime: now})
		return err
	})
	if err != nil {
		return Manifest{}, err
	}
	m := s.committed(r, file)
	m.CreatedAt = now
	if err := errors.Join(ctx.Err(), s.write(m, w.mode())); err != nil {
		return Manifest{}, err
	}
	return s.read(r.Name)
}

// committed is the manifest of an environment that was made of a task's disk.
func (s *Store) committed(r CommitRequest, file File) Manifest {
	m := Manifest{
		Version:      file.SHA256[:12],
		Source:       SourceTask,
		Description:  "committed from a task",
		Reference:    "sha256:" + file.SHA256,
		InputsSHA256: file.SHA256,
		Architecture: "amd64",
	}
	// What is known of what it was made from.
	if all, err := s.manifests(); err == nil {
		is := func(o Manifest) bool { return o.Image.SHA256 == r.BaseSHA256 }
		if i := slices.IndexFunc(all.sound, is); i >= 0 {
			of := all.sound[i]
			m.Description = "committed from a task of " + of.Name
			m.Architecture, m.Suite, m.Packages = of.Architecture, of.Suite, of.Packages
			m.Kernel = of.Kernel
		}
	}
	m.Name, m.Image, m.Config, m.DiskBytes = r.Name, file, r.Config, diskUsage(file.Path)
	if m.Kernel.SHA256 != r.Base.Kernel.SHA256 {
		m.Kernel = r.Base.Kernel
	}
	return m
}

// openImage gives the tree of an image. The file must stay open as long as the tree is in use.
func openImage(path string) (*os.File, *image.Tree, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("its image is gone: %w", err)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		var tree *image.Tree
		if tree, err = image.ReadEROFS(f, info.Size()); err == nil {
			return f, tree, nil
		}
	}
	return nil, nil, errors.Join(err, f.Close())
}

// Flatten writes all that an installed environment has as one uncompressed tar, as an image's only layer is
// one.
func (s *Store) Flatten(ctx context.Context, name string, w io.Writer) (Manifest, error) {
	release, err := s.Hold(ctx)
	if err != nil {
		return Manifest{}, err
	}
	defer release()
	m, err := s.Get(name)
	if err != nil {
		return Manifest{}, err
	}
	f, tree, err := openImage(m.Image.Path)
	if err != nil {
		return Manifest{}, err
	}
	return m, errors.Join(tree.WriteTar(ctx, w), f.Close())
}

// Scratch makes a temporary directory in the store, which is removed by release, or when its maker is gone.
func (s *Store) Scratch(ctx context.Context) (dir string, release func() error, err error) {
	if err := s.sweepTemp(ctx); err != nil {
		return "", nil, err
	}
	t, err := s.tempDir(ctx)
	if err != nil {
		return "", nil, err
	}
	return t.path, t.close, nil
}

// Remove forgets an installed environment. Its image goes with the next Prune, if no VM uses it.
func (s *Store) Remove(ctx context.Context, name string) (Manifest, error) {
	m, err := s.Get(name)
	if err != nil {
		return m, err
	}
	l, err := takeLock(ctx, s.path("locks", fileName(m.Name)), unix.LOCK_EX)
	if err != nil {
		return m, err
	}
	defer l.unlock()
	path := s.manifestPath(m.Name)
	return m, errors.Join(remove(path), syncDir(filepath.Dir(path)))
}
