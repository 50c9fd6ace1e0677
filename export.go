package pyro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
)

// ExportTask copies all that a task changed over its environment to the host, its workspace included: as
// a tar, or as files. The task is started if it is stopped.
func (p *Pyro) ExportTask(ctx context.Context, r ExportTaskRequest) (CopyResult, error) {
	if r.Tar == nil && r.HostPath == "" {
		return CopyResult{}, invalid("host_path is empty")
	}
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return CopyResult{}, err
	}
	defer s.Close()
	out := CopyResult{TaskID: s.ID}
	whole, err := filepath.Abs(r.HostPath)
	if err != nil {
		return out, err
	}
	switch {
	case r.Tar != nil:
		err = export(ctx, s, r.Tar)
	case strings.HasSuffix(whole, ".tar"):
		out.Path = whole
		err = exportFile(ctx, s, whole)
	default:
		out.Path = whole
		err = exportFiles(ctx, s, whole, &out)
	}
	if err != nil {
		return CopyResult{}, fromLink(fmt.Sprintf("cannot export %q", s.ID), err)
	}
	return out, nil
}

func export(ctx context.Context, s *instances.Session, w io.Writer) error {
	return s.Client.Take(ctx, link.OpExport, link.Export{Workspace: true}, nil, w)
}

// exportFile makes a tar, whole or not at all.
func exportFile(ctx context.Context, s *instances.Session, name string) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".pyro-export-*")
	if err != nil {
		return err
	}
	err = errors.Join(export(ctx, s, f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// whiteoutPrefix begins the names that say what an image's layer takes away.
const whiteoutPrefix = ".wh."

// exportFiles makes the files themselves. A directory has no word for what was removed.
func exportFiles(ctx context.Context, s *instances.Session, dir string, out *CopyResult) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	limits := archive.Limits{MaxEntries: maxDownloadEntries, MaxBytes: maxDownloadBytes}
	tarIn, tarOut := io.Pipe()
	in, packed := io.Pipe()
	done := make(chan error, 2)
	go func() {
		err := export(ctx, s, tarOut)
		tarOut.CloseWithError(err)
		done <- err
	}()
	go func() {
		sum, err := archive.PackTar(ctx, packed, tarIn, archive.PackOptions{
			Limits:  limits,
			Lenient: true,
			Links:   archive.LinksAny,
			Owners:  true,
			Skip: func(name string, _ bool) bool {
				return strings.HasPrefix(path.Base(name), whiteoutPrefix)
			},
		})
		out.LeftOutCount = sum.Left.Count
		for _, l := range sum.Left.Names {
			out.LeftOut = append(out.LeftOut, l.Path+": "+l.Reason)
		}
		packed.CloseWithError(err)
		tarIn.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		done <- err
	}()
	sum, err := archive.Extract(ctx, in, hostFiles(dir, limits))
	in.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	for range 2 {
		if other := <-done; err == nil || errors.Is(err, io.ErrClosedPipe) {
			err = other
		}
	}
	out.EntryCount, out.BytesWritten = sum.Entries, sum.Bytes
	return err
}
