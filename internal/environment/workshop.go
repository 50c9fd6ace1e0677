package environment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Workshop is what a source gets to work with during one pull: a place of its own, the downloads, the way to
// tell how far it is.
type Workshop struct {
	Name    string // of the environment
	Request PullRequest

	store *Store
	dir   *tempDir
	fetch fetcher

	private bool

	mu     sync.Mutex
	now    Progress
	last   time.Time
	phases []Phase
	begun  time.Time
}

// Dir is a directory for temporary files, removed when the pull has ended.
func (w *Workshop) Dir() string { return w.dir.path }

// StatePath is where a source keeps a small file of its own across pulls. Prune leaves it.
func (w *Workshop) StatePath(name string) string { return w.store.path("state", fileName(name)) }

// SharedKernel returns the kernel of the environment that was installed last, if there is one: Debian's own
// before others, since their kernel is brought up to date with them.
func (w *Workshop) SharedKernel(ctx context.Context) (Kernel, bool) {
	all, err := w.store.manifests()
	installed := all.sound
	if err != nil || len(installed) == 0 {
		return Kernel{}, false
	}
	newest := slices.MaxFunc(installed, func(a, b Manifest) int {
		if own := a.Source == "debian"; own != (b.Source == "debian") {
			return map[bool]int{true: 1, false: -1}[own]
		}
		return a.CreatedAt.Compare(b.CreatedAt)
	})
	var damaged *DamagedError
	if errors.As(verifyKernel(ctx, newest.Kernel), &damaged) {
		return Kernel{}, false // Who asks gets it anew.
	}
	return newest.Kernel, true
}

// Private keeps what is made in the workshop from other users of the host: it is somebody's who had to show
// credentials for it.
func (w *Workshop) Private() { w.private = true }

// mode is that of the files which are made.
func (w *Workshop) mode() fs.FileMode {
	if w.private {
		return 0o600
	}
	return 0o644
}

// Phase begins the next phase of the pull, with totals that are not known yet.
func (w *Workshop) Phase(name, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endPhase()
	w.now = Progress{Phase: name, Message: message}
	w.begun = time.Now()
	w.report(true)
}

// endPhase notes how long the present phase took.
func (w *Workshop) endPhase() {
	if w.now.Phase == "" {
		return
	}
	took := time.Since(w.begun)
	for i := range w.phases {
		if w.phases[i].Name == w.now.Phase {
			w.phases[i].Duration += took
			return
		}
	}
	w.phases = append(w.phases, Phase{Name: w.now.Phase, Duration: took})
}

// Update changes the figures of the present phase.
func (w *Workshop) Update(change func(p *Progress)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.now
	change(&w.now)
	w.report(before.Message != w.now.Message || w.now.Packages == w.now.TotalPackages)
}

// reportEvery is how often progress is reported if nothing but figures changes.
const reportEvery = 100 * time.Millisecond

func (w *Workshop) report(always bool) {
	if w.Request.Progress == nil || !always && time.Since(w.last) < reportEvery {
		return
	}
	w.last = time.Now()
	w.Request.Progress(w.now)
}

// Image makes the final image in the store: write fills a new file, whose digest becomes the image's name.
func (w *Workshop) Image(ctx context.Context, write func(*os.File) error) (File, error) {
	f, err := os.OpenFile(filepath.Join(w.dir.path, "image"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, w.mode())
	if err != nil {
		return File{}, err
	}
	path := f.Name()
	if err := write(f); err != nil {
		f.Close()
		return File{}, err
	}
	synced := make(chan error, 1)
	go func() { synced <- f.Sync() }()
	digest, size, err := digestFile(path)
	if err := firstError(<-synced, f.Close(), err, ctx.Err()); err != nil {
		return File{}, fmt.Errorf("cannot write the image: %w", err)
	}
	dir := filepath.Join(w.dir.path, digest)
	if err := os.Mkdir(dir, w.mode()|(w.mode()&0o444)>>2); err != nil {
		return File{}, err
	}
	final := w.store.path("images", digest)
	if err := os.Rename(path, filepath.Join(dir, imageFile)); err != nil {
		return File{}, err
	}
	if err := commitDir(dir, final, imageFile); err != nil {
		return File{}, fmt.Errorf("cannot keep the image: %w", err)
	}
	return File{Path: filepath.Join(final, imageFile), SHA256: digest, Size: size}, nil
}

const imageFile = "root.erofs"

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
