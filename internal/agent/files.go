package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
	"golang.org/x/sys/unix"
)

// files answers what is asked of single files and of trees.
func (a *Agent) files(ctx context.Context, req link.Request, stream *wire.Stream) (any, error) {
	who, err := a.ready()
	if err != nil {
		return nil, err
	}
	var result any
	switch req.Op {
	case link.OpStat:
		result, err = link.Answer(req, func(p link.FilePath) (any, error) {
			path := inGuest(p.Path)
			if real, err := filepath.EvalSymlinks(path); err == nil && p.Follow {
				path = real
			}
			return statFile(path)
		})
	case link.OpRead:
		result, err = link.Answer(req, func(p link.ReadFile) (any, error) {
			return readFile(ctx, p, link.Writer(stream, link.KindData))
		})
	case link.OpWrite:
		result, err = link.Answer(req, func(p link.WriteFile) (any, error) {
			return who.writeFile(p, link.Reader(stream, link.KindData))
		})
	case link.OpList:
		result, err = link.Answer(req, func(p link.ListFiles) (any, error) {
			return listFiles(ctx, p, link.Writer(stream, link.KindData))
		})
	case link.OpFetch:
		result, err = link.Answer(req, func(p link.Fetch) (any, error) {
			return fetch(ctx, p, link.Writer(stream, link.KindData))
		})
	case link.OpReplace:
		result, err = link.Empty{}, who.replace(link.Reader(stream, link.KindData))
	}
	return result, fileError(err)
}

// inGuest makes a path absolute.
func inGuest(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(link.Workspace, path)
	}
	return filepath.Clean(path)
}

// fileError gives the failure of a file operation its code.
func fileError(err error) error {
	var known *link.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	code := link.CodeInvalid
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = link.CodeNotFound
	case isNoSpace(err):
		code = link.CodeNoSpace
	}
	return &link.Error{Code: code, Message: err.Error()}
}

func statFile(path string) (link.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return link.FileInfo{}, err
	}
	return describe(path, info), nil
}

func describe(path string, info fs.FileInfo) link.FileInfo {
	out := link.FileInfo{
		Path:    path,
		Type:    link.TypeOther,
		Size:    info.Size(),
		MTimeNS: info.ModTime().UnixNano(),
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.Mode, out.UID, out.GID = st.Mode&0o7777, st.Uid, st.Gid
	}
	switch info.Mode().Type() {
	case 0:
		out.Type = link.TypeFile
	case fs.ModeDir:
		out.Type = link.TypeDirectory
	case fs.ModeSymlink:
		out.Type = link.TypeLink
		out.Target, _ = os.Readlink(path)
	}
	return out
}

// readFile sends a part of a file.
func readFile(ctx context.Context, p link.ReadFile, w io.Writer) (link.FileInfo, error) {
	path := inGuest(p.Path)
	f, err := openRegular(path)
	if err != nil {
		return link.FileInfo{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return link.FileInfo{}, err
	}
	if p.Offset < 0 || p.Limit < 0 {
		return link.FileInfo{}, errors.New("a part of a file begins and ends at its bytes")
	}
	limit := p.Limit
	if limit == 0 {
		limit = info.Size()
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	_, err = io.Copy(w, io.NewSectionReader(f, p.Offset, limit))
	return describe(path, info), err
}

// makeDirs makes a directory of this user's, with those above it that are missing.
func (who account) makeDirs(path string) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%q is not a directory", path)
		}
		return nil
	}
	if err := who.makeDirs(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return who.own(path)
}

// own makes a file this user's.
func (who account) own(path string) error {
	if int(who.uid) == os.Geteuid() && int(who.gid) == os.Getegid() {
		return nil
	}
	return os.Lchown(path, int(who.uid), int(who.gid))
}

// writeFile replaces a file whole or not at all. A link at its place is followed.
func (who account) writeFile(p link.WriteFile, r io.Reader) (link.FileInfo, error) {
	path, staged, err := who.stage(p.Path, p.Mode, io.LimitReader(r, p.Size+1), p.Size)
	if err != nil {
		return link.FileInfo{}, err
	}
	if err := os.Rename(staged, path); err != nil {
		return link.FileInfo{}, errors.Join(err, os.Remove(staged))
	}
	return statFile(path)
}

// stage writes a file beside the one that it is to replace, and tells where both are.
func (who account) stage(name string, mode uint32, r io.Reader, size int64) (path, staged string, err error) {
	path = inGuest(name)
	if strings.HasSuffix(name, "/") {
		return "", "", fmt.Errorf("%q is the name of a directory", name)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return "", "", fmt.Errorf("%q is not a regular file", path)
	case err == nil && mode == 0:
		mode = describe(path, info).Mode
	case mode == 0:
		mode = 0o644
	}
	if err := who.makeDirs(filepath.Dir(path)); err != nil {
		return "", "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".pyro-*")
	if err != nil {
		return "", "", err
	}
	staged = f.Name()
	n, err := io.Copy(f, r)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came where %d were announced", n, size)
	}
	owner := who.own
	if info != nil {
		before := describe(path, info)
		owner = func(path string) error { return os.Lchown(path, int(before.UID), int(before.GID)) }
	}
	err = errors.Join(err, owner(staged), unix.Fchmod(int(f.Fd()), mode&0o7777), f.Close())
	if err != nil {
		return "", "", errors.Join(err, os.Remove(staged))
	}
	return path, staged, nil
}

// listFiles sends what is in a directory, in the order of names.
func listFiles(ctx context.Context, p link.ListFiles, w io.Writer) (link.Listed, error) {
	path := inGuest(p.Path)
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%q is not a directory", path)
	}
	if err != nil {
		return link.Listed{}, err
	}
	found := []link.FileInfo{}
	var listed link.Listed
	err = filepath.WalkDir(path+"/", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || filepath.Clean(name) == path {
			return nil // What vanishes meanwhile, or cannot be read, is not there.
		}
		if len(found) == p.Limit {
			listed.Truncated = true
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		found = append(found, describe(filepath.Clean(name), info))
		if d.IsDir() && !p.Recursive {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return listed, err
	}
	return listed, json.NewEncoder(w).Encode(found)
}

// fetch sends a file or a tree as it is, but for what no other system could have: sockets, FIFOs, devices.
func fetch(ctx context.Context, p link.Fetch, w io.Writer) (link.Fetched, error) {
	o := archive.PackOptions{
		Limits:  archive.Limits{MaxEntries: p.MaxEntries, MaxBytes: p.MaxBytes},
		Lenient: true,
		Links:   archive.LinksAny,
		Name:    p.Name,
		Owners:  true,
	}
	if p.Heads {
		o.Content = func(size, changedNS int64) bool { return changedNS > p.SinceNS && size <= p.MaxContent }
	}
	if len(p.Skip) > 0 {
		o.Skip = func(path string, isDir bool) bool {
			return isDir && slices.Contains(p.Skip, filepath.Base(path))
		}
	}
	sum, err := archive.PackPath(ctx, w, inGuest(p.Path), o)
	out := link.Fetched{Entries: sum.Entries, Bytes: sum.Bytes, LeftCount: sum.Left.Count}
	for _, l := range sum.Left.Names {
		out.LeftOut = append(out.LeftOut, l.Path+": "+l.Reason)
	}
	return out, err
}

// maxReplace bounds what is replaced at once, in bytes of JSON.
const maxReplace = 64 << 20

// replace writes and removes files, all or none: everything is written beside its place first.
func (who account) replace(r io.Reader) (err error) {
	var all link.Replace
	if err := json.NewDecoder(io.LimitReader(r, maxReplace)).Decode(&all); err != nil {
		return fmt.Errorf("the files cannot be read: %w", err)
	}
	type move struct{ from, to string }
	var moves []move
	var gone []link.Replacement
	defer func() {
		for _, m := range moves {
			_ = os.Remove(m.from) // those that were not put in place
		}
	}()
	for _, f := range all.Files {
		if f.Remove {
			path := inGuest(f.Path)
			if info, err := os.Lstat(path); err != nil || info.IsDir() {
				return errors.Join(err, fmt.Errorf("%q is no file that could be removed", path))
			}
			f.Path = path
			gone = append(gone, f)
			continue
		}
		content := bytes.NewReader(f.Content)
		path, staged, err := who.stage(f.Path, f.Mode, content, content.Size())
		if err != nil {
			return err
		}
		moves = append(moves, move{staged, path})
	}
	for _, m := range moves {
		if err := os.Rename(m.from, m.to); err != nil {
			return err
		}
	}
	for _, f := range gone {
		if err := os.Remove(f.Path); err != nil {
			return err
		}
		for dir := filepath.Dir(f.Path); f.Prune && dir != link.Workspace; dir = filepath.Dir(dir) {
			if os.Remove(dir) != nil {
				break
			}
		}
	}
	return nil
}
