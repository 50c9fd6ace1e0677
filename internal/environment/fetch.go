package environment

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Blob is a download whose content is known beforehand.
type Blob struct {
	URLs   []string // tried in turn if one is refused for good
	SHA256 string
	Size   int64
	Place  string // in the store, like packages/DIGEST.deb
	Server Server
}

// fetcher holds what downloads have in common.
type fetcher struct {
	client   *http.Client
	parallel int
	attempts int           // in a row that bring nothing
	pause    time.Duration // before the second attempt; doubled for each one more
	stall    time.Duration // how long a transfer may bring no byte
}

func newFetcher() fetcher {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		DisableCompression:    true, // digests are of the files as they are stored
	}
	return fetcher{
		client:   &http.Client{Transport: transport},
		parallel: 6,
		attempts: 5,
		pause:    250 * time.Millisecond,
		stall:    30 * time.Second,
	}
}

// FetchAll brings blobs into the store, several at a time, and calls done for each as soon as it is there,
// from several goroutines. What is there already is verified again. The bytes of all blobs make up the
// progress of the phase.
func (w *Workshop) FetchAll(ctx context.Context, blobs []Blob, done func(i int, path string) error) error {
	w.Update(func(p *Progress) {
		for _, b := range blobs {
			p.TotalBytes += b.Size
		}
	})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(w.fetch.parallel)
	for i, b := range blobs {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			path, err := w.fetchBlob(ctx, b)
			if err != nil {
				return err
			}
			if done == nil {
				return nil
			}
			return done(i, path)
		})
	}
	return g.Wait()
}

// fetchBlob returns the path of a verified blob. The partial file is locked, so that two pulls that need the
// same blob download it once.
func (w *Workshop) fetchBlob(ctx context.Context, b Blob) (string, error) {
	final, partial := w.store.path(filepath.FromSlash(b.Place)), w.store.path("partial", b.SHA256)
	for {
		if w.have(b, final) {
			return final, nil
		}
		l, err := takeLock(ctx, partial, unix.LOCK_EX)
		if err != nil {
			return "", err
		}
		if err := l.f.Chmod(w.mode()); err != nil {
			l.unlock()
			return "", err
		}
		if !sameFile(l.f, partial) { // another pull completed it between the opening and the locking
			l.unlock()
			continue
		}
		if w.have(b, final) { // another pull completed it while this one waited
			err = remove(partial)
		} else {
			err = w.download(ctx, b, l.f, final)
		}
		l.unlock()
		return final, err
	}
}

func sameFile(f *os.File, path string) bool {
	here, err := f.Stat()
	there, err2 := os.Stat(path)
	return err == nil && err2 == nil && os.SameFile(here, there)
}

// have tells whether a blob is in the store. A file of that name with another content is removed.
func (w *Workshop) have(b Blob, final string) bool {
	digest, size, err := digestFile(final)
	if err != nil {
		return false
	}
	if digest != b.SHA256 || size != b.Size {
		_ = os.Remove(final) // a rename replaces it in any case
		return false
	}
	w.Update(func(p *Progress) { p.Bytes += size })
	return true
}
