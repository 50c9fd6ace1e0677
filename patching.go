package pyro

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"

	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/patch"
)

// PatchTask applies a unified diff to files of a task: all of it, or nothing.
func (p *Pyro) PatchTask(ctx context.Context, r PatchTaskRequest) (PatchTaskResult, error) {
	files, err := patch.Parse(r.Patch)
	if err != nil {
		return PatchTaskResult{}, invalid("cannot apply the patch: %v", err)
	}
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return PatchTaskResult{}, err
	}
	defer s.Close()
	out := PatchTaskResult{TaskID: s.ID, Written: []string{}, Removed: []string{}}
	var all link.Replace
	seen := map[string]bool{}
	for _, f := range files {
		changes, err := patched(ctx, s, inGuest(r.Path), f)
		if err != nil {
			return PatchTaskResult{}, err
		}
		for _, c := range changes {
			if seen[c.Path] {
				return PatchTaskResult{}, invalid("cannot apply the patch: it has %q twice", c.Path)
			}
			seen[c.Path] = true
			if c.Remove {
				out.Removed = append(out.Removed, c.Path)
			} else {
				out.Written = append(out.Written, c.Path)
			}
		}
		all.Files = append(all.Files, changes...)
	}
	if err := replace(ctx, s, all); err != nil {
		return PatchTaskResult{}, fromLink("cannot apply the patch", err)
	}
	return out, nil
}

// replace writes and removes files in a guest, all or none.
func replace(ctx context.Context, s *instances.Session, all link.Replace) error {
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return s.Client.Give(ctx, link.OpReplace, link.Empty{}, nil, bytes.NewReader(data))
}

// patched gives what is to become of a file, and of the one that it was renamed from.
func patched(
	ctx context.Context, s *instances.Session, dir string, f patch.File,
) ([]link.Replacement, error) {
	for _, name := range []string{f.Old, f.New} {
		if name != "" && !filepath.IsLocal(name) {
			return nil, invalid("cannot apply the patch: %q leads out of %q", name, dir)
		}
	}
	content := ""
	if f.Old != "" {
		old, info, err := readFile(ctx, s, path.Join(dir, f.Old), 0, maxReadBytes)
		if err != nil {
			return nil, fmt.Errorf("cannot apply the patch: %w", err)
		}
		if info.Size > maxReadBytes {
			return nil, invalid("cannot apply the patch: %q has more than %d bytes", f.Old, maxReadBytes)
		}
		content = string(old)
	} else if _, err := stat(ctx, s, path.Join(dir, f.New)); err == nil {
		return nil, invalid("cannot apply the patch: %q is to be new, and is there", f.New)
	}
	content, err := f.Apply(content)
	if err != nil {
		return nil, invalid("cannot apply the patch to %q: %v", or2(f.Old, f.New), err)
	}
	var all []link.Replacement
	if f.Old != "" && f.Old != f.New {
		all = append(all, link.Replacement{Path: path.Join(dir, f.Old), Remove: true})
	}
	if f.New != "" {
		all = append(all, link.Replacement{
			Path:    path.Join(dir, f.New),
			Content: []byte(content),
			Mode:    f.Mode,
		})
	}
	return all, nil
}
