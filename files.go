package pyro

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// started gives a conversation with a task's supervisor, its guest started if it was not.
func (p *Pyro) started(ctx context.Context, id string) (*instances.Session, error) {
	if err := p.resolve(&id, record.KindTask); err != nil {
		return nil, err
	}
	s, err := p.reach(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.Client.Call(ctx, link.OpStart, link.Empty{}, nil); err != nil {
		s.Close()
		return nil, fromLink(fmt.Sprintf("cannot start %q", id), err)
	}
	return s, nil
}

// ReadFile gives a part of a file of a task, which is started if it is stopped.
func (p *Pyro) ReadFile(ctx context.Context, r ReadFileRequest) (ReadFileResult, error) {
	for name, value := range map[string]int{"offset_bytes": r.OffsetBytes, "max_bytes": r.MaxBytes} {
		if err := ParameterNamed(name).check(value); err != nil {
			return ReadFileResult{}, err
		}
	}
	limit := min(or(r.MaxBytes, DefaultReadBytes), maxReadBytes)
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return ReadFileResult{}, err
	}
	defer s.Close()
	content, info, err := readFile(ctx, s, r.Path, int64(r.OffsetBytes), int64(limit))
	if err != nil {
		return ReadFileResult{}, err
	}
	out := ReadFileResult{
		TaskID:    s.ID,
		FileInfo:  viewFile(info),
		Truncated: int64(r.OffsetBytes)+int64(len(content)) < info.Size,
	}
	if utf8.Valid(content) {
		out.Content = string(content)
	} else {
		out.ContentBase64 = base64.StdEncoding.EncodeToString(content)
	}
	return out, nil
}

func readFile(
	ctx context.Context, s *instances.Session, name string, from, limit int64,
) ([]byte, link.FileInfo, error) {
	var info link.FileInfo
	content := bounded{left: limit}
	ask := link.ReadFile{Path: name, Offset: from, Limit: limit}
	err := s.Client.Take(ctx, link.OpRead, ask, &info, &content)
	return content.Bytes(), info, fromLink(fmt.Sprintf("cannot read %q", name), err)
}

// bounded keeps no more of what a guest sends than was asked for.
type bounded struct {
	bytes.Buffer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errors.New("the guest sends more than was asked for")
	}
	return b.Buffer.Write(p)
}

func viewFile(f link.FileInfo) FileInfo {
	return FileInfo{
		Path:       f.Path,
		Type:       f.Type,
		SizeBytes:  f.Size,
		Mode:       fmt.Sprintf("%04o", f.Mode&0o7777),
		UID:        int(f.UID),
		GID:        int(f.GID),
		ModifiedAt: time.Unix(0, f.MTimeNS).UTC(),
		Target:     f.Target,
	}
}

// WriteFile makes or replaces a file of a task, whole or not at all. The task is started if it is stopped.
func (p *Pyro) WriteFile(ctx context.Context, r WriteFileRequest) (WriteFileResult, error) {
	content := []byte(r.Content)
	if r.ContentBase64 != "" {
		var err error
		if content, err = base64.StdEncoding.DecodeString(r.ContentBase64); err != nil || r.Content != "" {
			return WriteFileResult{}, invalid("content_base64 is not Base64, or content is given as well")
		}
	}
	mode, err := parseMode(r.Mode)
	if err != nil {
		return WriteFileResult{}, err
	}
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return WriteFileResult{}, err
	}
	defer s.Close()
	var info link.FileInfo
	ask := link.WriteFile{Path: r.Path, Mode: mode, Size: int64(len(content))}
	if err := s.Client.Give(ctx, link.OpWrite, ask, &info, bytes.NewReader(content)); err != nil {
		return WriteFileResult{}, fromLink(fmt.Sprintf("cannot write %q", r.Path), err)
	}
	return WriteFileResult{TaskID: s.ID, FileInfo: viewFile(info)}, nil
}

// parseMode reads octal digits; none is 0.
func parseMode(text string) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o7777 || n == 0 {
		return 0, invalid("mode is %q, not octal digits such as 644", text)
	}
	return uint32(n), nil
}

// ListFiles gives what is in a directory of a task, which is started if it is stopped.
func (p *Pyro) ListFiles(ctx context.Context, r ListFilesRequest) (ListFilesResult, error) {
	if err := ParameterNamed("max_entries").check(r.MaxEntries); err != nil {
		return ListFilesResult{}, err
	}
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return ListFilesResult{}, err
	}
	defer s.Close()
	data := bounded{left: maxListing}
	var listed link.Listed
	ask := link.ListFiles{Path: r.Path, Recursive: r.Recursive, Limit: or(r.MaxEntries, DefaultListEntries)}
	var found []link.FileInfo
	if err := s.Client.Take(ctx, link.OpList, ask, &listed, &data); err != nil {
		return ListFilesResult{}, fromLink(fmt.Sprintf("cannot list %q", or2(r.Path, Workspace)), err)
	}
	if err := json.Unmarshal(data.Bytes(), &found); err != nil {
		return ListFilesResult{}, fmt.Errorf("the guest's listing makes no sense: %w", err)
	}
	out := ListFilesResult{
		TaskID:    s.ID,
		Path:      inGuest(r.Path),
		Files:     make([]FileInfo, len(found)),
		Truncated: listed.Truncated,
	}
	for i, f := range found {
		out.Files[i] = viewFile(f)
	}
	return out, nil
}

// maxListing bounds a listing as it comes from a guest, in bytes.
const maxListing = 64 << 20

func or2(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// inGuest makes a guest's path absolute, for people to read: the guest resolves it itself.
func inGuest(name string) string {
	if !path.IsAbs(name) {
		name = path.Join(Workspace, name)
	}
	return path.Clean(name)
}

// stat looks at a file of the guest's, or at what a link there leads to.
func stat(ctx context.Context, s *instances.Session, name string) (link.FileInfo, error) {
	var info link.FileInfo
	err := s.Client.Call(ctx, link.OpStat, link.FilePath{Path: name, Follow: true}, &info)
	return info, err
}

// Upload copies a file or a directory of the host into a task, or unpacks a tar there. What is copied
// belongs to the guest's user; what a tar holds, to whom it says. The task is started if it is stopped.
func (p *Pyro) Upload(ctx context.Context, r UploadRequest) (CopyResult, error) {
	if r.Tar == nil {
		info, err := os.Stat(r.HostPath)
		if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
			err = errors.New("it is neither a file nor a directory")
		}
		if err != nil {
			return CopyResult{}, invalid("cannot copy %q: %v", r.HostPath, err)
		}
	}
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return CopyResult{}, err
	}
	defer s.Close()
	limits, err := seedLimits()
	if err != nil {
		return CopyResult{}, err
	}
	o := archive.PackOptions{
		Limits:  limits,
		Lenient: true,
		Links:   archive.LinksAny,
		Owners:  r.Tar != nil,
	}
	into := link.Import{
		MaxEntries:  limits.MaxEntries,
		MaxBytes:    limits.MaxBytes,
		Destination: inGuest(r.Path),
		Links:       int(archive.LinksAny),
		Owners:      r.Tar != nil,
	}
	pack := func(ctx context.Context, w io.Writer) (archive.Summary, error) {
		return archive.PackTar(ctx, w, r.Tar, o)
	}
	if r.Tar == nil {
		real, err := filepath.EvalSymlinks(r.HostPath)
		if err != nil {
			return CopyResult{}, invalid("cannot copy %q: %v", r.HostPath, err)
		}
		into.Destination, o.Name = goal(ctx, s, r.Path, filepath.Base(filepath.Clean(r.HostPath)))
		pack = func(ctx context.Context, w io.Writer) (archive.Summary, error) {
			return archive.PackPath(ctx, w, real, o)
		}
	}
	result, sent, err := p.send(ctx, s, into, r.Progress, pack)
	if err != nil {
		return CopyResult{}, fromLink(fmt.Sprintf("cannot copy into %q of %q", r.Path, s.ID), err)
	}
	out := CopyResult{
		TaskID:       s.ID,
		Path:         path.Join(into.Destination, o.Name),
		EntryCount:   result.Entries,
		BytesWritten: result.Bytes,
		LeftOutCount: sent.Left.Count,
	}
	for _, l := range sent.Left.Names {
		out.LeftOut = append(out.LeftOut, l.Path+": "+l.Reason)
	}
	return out, nil
}

// goal tells in which directory of the guest's a copy gets which name.
func goal(ctx context.Context, s *instances.Session, name, base string) (dir, as string) {
	whole := inGuest(name)
	if base == "." || base == "/" {
		return whole, ""
	}
	info, err := stat(ctx, s, whole)
	if err == nil && info.Type == link.TypeDirectory || len(name) > 0 && name[len(name)-1] == '/' {
		return whole, base
	}
	return path.Split(whole)
}
