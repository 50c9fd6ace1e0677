package pyro

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/patch"
)

// gitDir and gitIgnore are names that git gives a meaning to. A patch cannot have what is in gitDir.
const (
	gitDir    = ".git"
	gitIgnore = ".gitignore"
)

// DiffTask tells what a task changed in its workspace since it was seeded. The task is started if it is
// stopped.
func (p *Pyro) DiffTask(ctx context.Context, r DiffTaskRequest) (DiffTaskResult, error) {
	patterns, err := archive.ParsePatterns(r.Exclude)
	if err != nil {
		return DiffTaskResult{}, invalid("exclude: %v", err)
	}
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return DiffTaskResult{}, err
	}
	defer s.Close()
	failed := func(err error) (DiffTaskResult, error) {
		return DiffTaskResult{}, fromLink(fmt.Sprintf("cannot tell what changed in %q", s.ID), err)
	}
	b, err := p.base(s.ID)
	if err != nil {
		return failed(err)
	}
	now, err := lookAt(ctx, s, b.SinceNS)
	if err != nil {
		return failed(err)
	}
	all, ignored, err := now.against(ctx, b, b.pack())
	if err != nil {
		return failed(err)
	}
	out := DiffTaskResult{TaskID: s.ID, Changes: []FileChange{}}
	var whole strings.Builder
	for _, c := range all {
		if patterns.Match(c.path, false) || c.old == nil && !r.IncludeIgnored && ignored.match(c.path) {
			continue
		}
		out.Changes = append(out.Changes, FileChange{Path: c.path, Change: c.word(), SizeBytes: c.size()})
		if !r.Patch {
			continue
		}
		part, err := c.patch(ctx, s, b)
		if err != nil {
			return failed(err)
		}
		if part == "" {
			out.LeftOut = append(out.LeftOut,
				fmt.Sprintf("%s: it has more than %d bytes", c.path, maxReadBytes))
		}
		whole.WriteString(part)
	}
	out.Patch = whole.String()
	return out, nil
}

// nowFile is a file or a link as it is in the guest. Its content is known if it may have changed.
type nowFile struct {
	archive.Entry
	content []byte
	known   bool
}

// tree is a workspace as it is in the guest.
type tree map[string]*nowFile

// lookAt reads what is in a workspace: of files that may have changed since then, the contents as well.
func lookAt(ctx context.Context, s *instances.Session, since int64) (tree, error) {
	all := tree{}
	in, w := io.Pipe()
	done := make(chan error, 1)
	left := int64(maxBase)
	go func() {
		_, err := archive.Walk(ctx, in, hugeLimits(), func(e archive.Entry, content io.Reader) (err error) {
			if e.Type == archive.TypeDirectory {
				return nil
			}
			f := &nowFile{Entry: e}
			if content != nil && e.Size <= left {
				left -= e.Size
				f.content, err = io.ReadAll(content)
				f.known = true
			}
			all[e.Path] = f
			return err
		})
		in.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		done <- err
	}()
	err := s.Client.Take(ctx, link.OpFetch, link.Fetch{
		Path:       Workspace,
		MaxEntries: maxDownloadEntries,
		MaxBytes:   maxDownloadBytes,
		Heads:      true,
		SinceNS:    since,
		MaxContent: maxReadBytes,
		Skip:       []string{gitDir},
	}, nil, w)
	w.CloseWithError(err)
	walked := <-done
	var far *link.Error
	if errors.As(err, &far) || walked == nil {
		return all, err
	}
	return all, walked
}

// at gives what stands at a path; of another name of a file, that file.
func (t tree) at(path string) *nowFile {
	f := t[path]
	if f != nil && f.Type == archive.TypeFile && f.Target != "" {
		if first := t[f.Target]; first != nil {
			return first
		}
	}
	return f
}

// change is a file that is not what it was.
type change struct {
	path     string
	old      *archive.Entry // nil if it is new
	oldBytes []byte         // if known
	oldID    string
	now      *nowFile // nil if it is gone
}

func (c change) word() string {
	switch {
	case c.old == nil:
		return "added"
	case c.now == nil:
		return "removed"
	}
	return "modified"
}

func (c change) size() int64 {
	if c.now == nil {
		return 0
	}
	return c.now.Size
}

// against tells what differs from a seed, sorted by path, and what git would ignore of it.
func (t tree) against(ctx context.Context, b base, pack string) ([]change, ignoring, error) {
	left, ignored := maps.Clone(t), ignoring{}
	var all []change
	err := walkPack(ctx, pack, func(e archive.Entry, content io.Reader) error {
		if e.Type == archive.TypeDirectory || inGit(e.Path) {
			return nil
		}
		delete(left, e.Path)
		c := change{path: e.Path, old: &e, now: t.at(e.Path)}
		if e.Head {
			c.oldID = e.Target
		}
		rules := path.Base(e.Path) == gitIgnore
		if !rules && !c.mayDiffer() {
			return nil
		}
		if err := c.readOld(ctx, b, content); err != nil {
			return err
		}
		if c.differs() {
			all = append(all, c)
		}
		if rules && (c.now == nil || !c.now.known) {
			ignored.add(e.Path, c.oldBytes)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for name, f := range t {
		if path.Base(name) == gitIgnore && f.known {
			ignored.add(name, f.content)
		}
	}
	for name := range left {
		all = append(all, change{path: name, now: t.at(name)})
	}
	ignored.add(gitIgnore, []byte(strings.Join(b.Behind, "\n")))
	slices.SortFunc(all, func(x, y change) int { return cmp.Compare(x.path, y.path) })
	return all, ignored, nil
}

// inGit tells whether a path is in a repository's own directory.
func inGit(name string) bool {
	return strings.Contains("/"+name+"/", "/"+gitDir+"/")
}

// mayDiffer tells whether the contents have to be compared.
func (c change) mayDiffer() bool {
	return c.now == nil || c.now.known || c.old.Type != c.now.Type || c.old.Type == archive.TypeLink ||
		c.old.Size != c.now.Size || c.old.MTimeNS != c.now.MTimeNS ||
		executable(c.old.Mode) != executable(c.now.Mode)
}

func executable(mode uint32) bool { return mode&0o100 != 0 }

// readOld reads what was kept of the old content.
func (c *change) readOld(ctx context.Context, b base, content io.Reader) (err error) {
	switch {
	case content != nil:
		c.oldBytes, err = io.ReadAll(content)
	case c.old.Type == archive.TypeLink:
		c.oldBytes = []byte(c.old.Target)
	case !c.old.Head:
		c.oldBytes, c.oldID, err = b.contentOf(ctx, c.old.Target)
	}
	return err
}

// differs tells whether a file is another one than before. Of one whose content is not known, its size and
// its time tell.
func (c change) differs() bool {
	switch {
	case c.now == nil || c.old.Type != c.now.Type:
		return true
	case c.old.Type == archive.TypeLink:
		return c.old.Target != c.now.Target
	case executable(c.old.Mode) != executable(c.now.Mode):
		return true
	case !c.now.known:
		return c.old.Size != c.now.Size || c.old.MTimeNS != c.now.MTimeNS
	case c.oldID != "":
		return c.oldID != patch.BlobID(c.now.content)
	}
	return !bytes.Equal(c.oldBytes, c.now.content)
}

// patch gives the part of a patch for it; "" if it is too large for one.
func (c change) patch(ctx context.Context, s *instances.Session, b base) (string, error) {
	var from, to *patch.Version
	if c.old != nil {
		from = &patch.Version{
			Content:    c.oldBytes,
			BlobID:     c.oldID,
			Executable: executable(c.old.Mode),
			Link:       c.old.Type == archive.TypeLink,
		}
	}
	if c.now != nil {
		to = &patch.Version{
			Content:    c.now.content,
			Executable: executable(c.now.Mode),
			Link:       c.now.Type == archive.TypeLink,
		}
		switch {
		case to.Link:
			to.Content = []byte(c.now.Target)
		case c.now.Size > maxReadBytes:
			return "", nil
		case !c.now.known:
			var err error
			to.Content, _, err = readFile(ctx, s, path.Join(Workspace, c.path), 0, maxReadBytes)
			if err != nil {
				return "", err
			}
		}
	}
	return patch.Make(c.path, from, to), nil
}

// ignoring are the patterns of .gitignore files, by the directories that they stand in.
type ignoring map[string]archive.Patterns

func (i ignoring) add(name string, lines []byte) {
	// A line that git would not take either says nothing.
	for line := range strings.SplitSeq(string(lines), "\n") {
		if patterns, err := archive.ParsePatterns([]string{line}); err == nil {
			i[path.Dir(name)] = append(i[path.Dir(name)], patterns...)
		}
	}
}

// match tells whether a file is ignored, or a directory that it is in.
func (i ignoring) match(name string) bool {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		below := strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
		if dir == "." {
			below = name
		}
		patterns := i[dir]
		for at := range len(below) + 1 {
			if at == len(below) || below[at] == '/' {
				if len(patterns) > 0 && patterns.Match(below[:at], at < len(below)) {
					return true
				}
			}
		}
		if dir == "." {
			return false
		}
	}
}
