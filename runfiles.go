package pyro

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pyro-mcp/pyro/internal/instances"
)

// runFiles are what a run brings in and takes out.
type runFiles struct {
	spare   *spare // nil if none is wanted
	seed    seeding
	outputs []output
}

type output struct{ path, host string }

// files checks what a run brings in and takes out, before anything is made.
func (r RunInVMRequest) files() (runFiles, error) {
	with := runFiles{seed: seeding{
		source:         r.SourcePath,
		strict:         r.Strict,
		exclude:        r.Exclude,
		includeIgnored: r.IncludeIgnored,
		progress:       r.Progress,
	}}
	for _, text := range r.Outputs {
		path, host, ok := strings.Cut(text, "=")
		if !ok || path == "" || host == "" {
			return with, invalid("the output %q is not of the form PATH=HOST_PATH", text)
		}
		if _, _, err := hostGoal(host, filepath.Base(path)); err != nil {
			return with, err
		}
		with.outputs = append(with.outputs, output{path, host})
	}
	return with, with.seed.check()
}

// before fills the workspace of a run.
func (p *Pyro) before(ctx context.Context, s *instances.Session, with runFiles) (*WorkspaceSeed, error) {
	if with.seed.source == "" {
		return nil, nil
	}
	seed, err := p.seed(ctx, s, with.seed)
	if err != nil {
		return nil, err
	}
	view := WorkspaceSeed(seed)
	return &view, nil
}

// after copies to the host what a run leaves, and tells what of it is not there.
func (p *Pyro) after(
	ctx context.Context, s *instances.Session, with runFiles,
) (copies []CopyResult, missing []string, err error) {
	for _, o := range with.outputs {
		copied, err := p.download(ctx, s, DownloadRequest{Path: o.path, HostPath: o.host})
		if errors.Is(err, ErrNotFound) {
			missing = append(missing, fmt.Sprintf("the command left no %q", o.path))
			continue
		}
		if err != nil {
			return copies, missing, err
		}
		copied.TaskID = ""
		copies = append(copies, copied)
	}
	return copies, missing, nil
}
