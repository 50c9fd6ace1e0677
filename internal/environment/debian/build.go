package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/image"
)

// job is an environment to be built.
type job struct {
	w        *environment.Workshop
	recipe   recipe
	suite    suite
	archive  *archive
	packages []*binary
	kernel   *binary
}

// unpackers is how many packages are decompressed at a time.
const unpackers = 2

// build makes the image: packages are decompressed as they arrive, laid over one another in their order,
// written as an unconfigured image, configured in a VM, and written again with what that changed.
func (j *job) build(ctx context.Context) (m environment.Manifest, err error) {
	if j.w.Request.Configure == nil {
		return m, errors.New("packages are configured in a virtual machine, and there is none")
	}
	spools := make([]*spooled, len(j.packages))
	defer func() {
		for _, s := range spools {
			if s != nil {
				err = errors.Join(err, s.spool.Close())
			}
		}
	}()
	kernel, err := j.fetch(ctx, spools)
	if err != nil {
		return m, err
	}
	j.w.Phase(environment.PhaseUnpack, "putting the files together")
	root, packages, err := j.assemble(ctx, spools)
	if err != nil {
		return m, err
	}
	raw := filepath.Join(j.w.Dir(), "unconfigured.erofs")
	if err := j.writeImage(ctx, root, raw); err != nil {
		return m, err
	}
	j.w.Phase(environment.PhaseConfigure, "configuring packages in a virtual machine")
	changes, size, err := j.configure(ctx, environment.Boot{Kernel: kernel, Image: raw}, packages)
	if err != nil {
		return m, err
	}
	defer changes.Close()
	j.w.Phase(environment.PhaseImage, "writing the image")
	if err := os.Remove(raw); err != nil {
		return m, err
	}
	if err := root.Apply(ctx, changes, size, image.ApplyOptions{Whiteouts: true}); err != nil {
		return m, fmt.Errorf("cannot apply what configuring changed: %w", err)
	}
	file, err := j.w.Image(ctx, func(f *os.File) error {
		_, err := root.WriteEROFS(ctx, f, image.EROFSOptions{BuildTime: root.stamp})
		return err
	})
	if err != nil {
		return m, err
	}
	return j.manifest(file, kernel), nil
}

// fetch downloads the packages and the kernel, and decompresses each as soon as it is there.
func (j *job) fetch(ctx context.Context, spools []*spooled) (kernel environment.Kernel, err error) {
	blobs := []environment.Blob{j.kernel.blob()}
	for _, b := range j.packages {
		blobs = append(blobs, b.blob())
	}
	j.w.Phase(environment.PhaseDownload, "downloading and unpacking packages")
	j.w.Update(func(p *environment.Progress) { p.TotalPackages = len(blobs) })
	slots := semaphore.NewWeighted(unpackers)
	g, gctx := errgroup.WithContext(ctx)
	err = j.w.FetchAll(ctx, blobs, func(i int, path string) error {
		// In a goroutine of its own, so that decompression does not hold up the downloads.
		g.Go(func() (err error) {
			if err := slots.Acquire(gctx, 1); err != nil {
				return err
			}
			defer slots.Release(1)
			if i == 0 {
				kernel, err = keepKernel(gctx, j.w, j.kernel, path)
			} else if spools[i-1], err = unpack(j.w.Dir(), path); err != nil {
				err = fmt.Errorf("cannot unpack %s: %w", j.packages[i-1], err)
			}
			j.w.Update(func(p *environment.Progress) { p.Packages++ })
			return err
		})
		return gctx.Err()
	})
	if unpackErr := g.Wait(); unpackErr != nil {
		err = unpackErr // then the downloads only stopped for it
	}
	return kernel, err
}

// assemble lays the packages over one another and adds dpkg's database.
func (j *job) assemble(ctx context.Context, spools []*spooled) (*rootfs, []*unpacked, error) {
	root, err := newRootfs(j.archive.date)
	if err != nil {
		return nil, nil, err
	}
	var all []*unpacked
	for i, s := range spools {
		u := &unpacked{binary: j.packages[i], files: s.control}
		if err := j.lay(ctx, root, s, u); err != nil {
			return nil, nil, fmt.Errorf("cannot unpack %s: %w", u.binary, err)
		}
		all = append(all, u)
	}
	err = root.writeSettings(j.recipe.Suite, j.suite.Keyring)
	if err == nil {
		err = writeDatabase(root, all)
	}
	return root, all, err
}

func (j *job) lay(ctx context.Context, root *rootfs, s *spooled, u *unpacked) (err error) {
	if u.control, err = parseParagraph(s.control["control"]); err != nil {
		return err
	}
	if name, version := u.control.get("Package"), u.control.get("Version"); name != u.name ||
		version != u.version {
		return fmt.Errorf("its file is of %s (%s)", name, version)
	}
	if u.list, err = fileList(s.spool, s.size); err != nil {
		return err
	}
	return s.apply(ctx, root.Tree)
}

func (j *job) writeImage(ctx context.Context, root *rootfs, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = root.WriteEROFS(ctx, f, image.EROFSOptions{BuildTime: root.stamp})
	return errors.Join(err, f.Close())
}

// configure runs the packages' scripts in a VM and returns what they changed.
func (j *job) configure(
	ctx context.Context, b environment.Boot, packages []*unpacked,
) (changes *os.File, size int64, err error) {
	changes, err = os.Create(filepath.Join(j.w.Dir(), "changes.tar"))
	if err != nil {
		return nil, 0, err
	}
	j.w.Update(func(p *environment.Progress) {
		for _, u := range packages {
			if u.hasScript() {
				p.TotalPackages++
			}
		}
	})
	log := &scriptLog{w: j.w}
	err = j.w.Request.Configure.Configure(ctx, b, configureFor(packages, j.suite.Upgrades), log, changes)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("cannot configure the packages: %w%s", err, log.tail()),
			changes.Close())
	}
	info, err := changes.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, changes.Close())
	}
	return changes, info.Size(), nil
}

func (j *job) manifest(file environment.File, kernel environment.Kernel) environment.Manifest {
	m := environment.Manifest{
		Version:      j.recipe.Version,
		Description:  j.recipe.Description,
		Source:       "debian",
		Reference:    j.archive.state,
		Mirror:       j.archive.mirror,
		Suite:        j.recipe.Suite,
		Architecture: j.archive.arch,
		Image:        file,
		Kernel:       kernel,
		Config: environment.Config{Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
		}},
		DownloadedBytes: j.kernel.size,
	}
	for _, b := range j.packages {
		m.DownloadedBytes += b.size
		m.Packages = append(m.Packages, environment.Package{
			Name:         b.name,
			Version:      b.version,
			Architecture: b.arch,
			SHA256:       b.sha256,
			Size:         b.size,
		})
	}
	return m
}

// scriptLog keeps the end of what the script prints, for errors, and counts packages for the progress.
type scriptLog struct {
	w    *environment.Workshop
	last []byte
	line []byte
}

const (
	logTail = 2000
	logLine = 4096
)

func (l *scriptLog) Write(p []byte) (int, error) {
	l.last = append(l.last, p...)
	l.last = l.last[max(0, len(l.last)-logTail):]
	for chunk := range bytes.Lines(p) {
		if len(l.line) < logLine {
			l.line = append(l.line, chunk...)
		}
		if bytes.HasSuffix(chunk, []byte("\n")) {
			if strings.HasPrefix(string(l.line), "Setting up ") {
				l.w.Update(func(p *environment.Progress) { p.Packages = min(p.Packages+1, p.TotalPackages) })
			}
			l.line = l.line[:0]
		}
	}
	return len(p), nil
}

// tail is the end of what was printed, as part of an error.
func (l *scriptLog) tail() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(l.last), "?"))
	if text == "" {
		return ""
	}
	return "; its last words: " + strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c < ' ' }),
		" / ")
}
