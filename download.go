package pyro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
)

// Download copies a file or a directory of a task to the host, or writes it as a tar. Nothing that the
// guest made is followed on the host. What cannot be copied (devices, FIFOs, sockets) is left out and
// told of. The task is started if it is stopped.
func (p *Pyro) Download(ctx context.Context, r DownloadRequest) (CopyResult, error) {
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return CopyResult{}, err
	}
	defer s.Close()
	return p.download(ctx, s, r)
}

func (p *Pyro) download(ctx context.Context, s *instances.Session, r DownloadRequest) (CopyResult, error) {
	failed := func(err error) (CopyResult, error) {
		return CopyResult{}, fromLink(fmt.Sprintf("cannot copy %q from %q", r.Path, s.ID), err)
	}
	limits := archive.Limits{MaxEntries: maxDownloadEntries, MaxBytes: maxDownloadBytes}
	ask := link.Fetch{
		Path:       r.Path,
		Name:       path.Base(inGuest(r.Path)),
		MaxEntries: limits.MaxEntries,
		MaxBytes:   limits.MaxBytes,
	}
	if ask.Name == "/" {
		ask.Name = ""
	}
	root := ""
	if r.Tar == nil {
		var err error
		if root, ask.Name, err = hostGoal(r.HostPath, ask.Name); err != nil {
			return CopyResult{}, err
		}
	}
	in, w := io.Pipe()
	type taken struct {
		sum archive.Summary
		err error
	}
	done := make(chan taken, 1)
	go func() {
		var t taken
		if r.Tar != nil {
			t.sum, t.err = archive.ToTar(ctx, in, r.Tar, limits)
		} else {
			t.sum, t.err = archive.Extract(ctx, in, hostFiles(root, limits))
		}
		in.CloseWithError(errors.Join(t.err, io.ErrClosedPipe))
		done <- t
	}()
	var fetched link.Fetched
	err := s.Client.Take(ctx, link.OpFetch, ask, &fetched, &counting{Writer: w, tell: r.Progress})
	w.CloseWithError(err)
	got := <-done
	var far *link.Error
	switch {
	case errors.As(err, &far):
		return failed(err)
	case got.err != nil && ctx.Err() == nil:
		return failed(got.err)
	case err != nil:
		return failed(err)
	}
	return CopyResult{
		TaskID:       s.ID,
		Path:         filepath.Join(root, ask.Name),
		EntryCount:   got.sum.Entries,
		BytesWritten: got.sum.Bytes,
		LeftOut:      fetched.LeftOut,
		LeftOutCount: fetched.LeftCount,
	}, nil
}

// hostGoal tells in which directory of the host a copy gets which name.
func hostGoal(name, base string) (dir, as string, err error) {
	whole, err := filepath.Abs(name)
	if err != nil || name == "" {
		return "", "", invalid("host_path is %q, which names nothing", name)
	}
	if info, err := os.Stat(whole); err == nil && info.IsDir() {
		return whole, base, nil
	}
	dir, as = filepath.Split(whole)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a directory")
	}
	if err != nil {
		return "", "", invalid("cannot copy to %q: %v", name, err)
	}
	if base == "" {
		return "", "", invalid("cannot copy a whole root to %q: make that directory first", name)
	}
	return dir, as, nil
}

// hostFiles says how a guest's files become the host's.
func hostFiles(dir string, limits archive.Limits) archive.ExtractOptions {
	return archive.ExtractOptions{
		Root:       dir,
		MaxEntries: limits.MaxEntries,
		MaxBytes:   limits.MaxBytes,
		UID:        os.Geteuid(),
		GID:        os.Getegid(),
		Owners:     os.Geteuid() == 0,
		Links:      archive.LinksAny,
		DropSetID:  true,
	}
}
