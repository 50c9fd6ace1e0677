package pyro

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/archive"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// seeding says what a workspace is filled with.
type seeding struct {
	source         string
	strict         bool
	exclude        []string
	includeIgnored bool
	keep           bool // so that changes can be told
	progress       func(PullProgress)
}

// ignoreFile lists, in a directory that is a seed, what stays behind.
const ignoreFile = ".pyroignore"

// maxIgnoreFile bounds that file as it is read.
const maxIgnoreFile = 1 << 20

// check refuses what cannot be a seed before anything is made.
func (s seeding) check() error {
	if s.source == "" {
		return nil
	}
	if err := archive.Check(s.source); err != nil {
		return badSeed(s.source, err)
	}
	if _, err := archive.ParsePatterns(s.exclude); err != nil {
		return invalid("exclude: %v", err)
	}
	return nil
}

// note says where the seed comes from, for who looks at it again.
func (s seeding) note() baseNote {
	own, err := ignoredByFile(filepath.Join(s.source, ignoreFile))
	if err != nil {
		own = nil // It is told when it is packed.
	}
	return baseNote{
		Source:         s.source,
		Exclude:        s.exclude,
		Behind:         append(own, s.exclude...),
		Strict:         s.strict,
		IncludeIgnored: s.includeIgnored,
	}
}

// plan tells how the source is to be packed, and what of it git leaves behind.
func (s seeding) plan(ctx context.Context, limits archive.Limits) (archive.PackOptions, []string, error) {
	o := archive.PackOptions{Limits: limits}
	if info, err := os.Stat(s.source); err != nil || !info.IsDir() {
		return o, nil, nil // What is wrong with it is told when it is packed.
	}
	own, err := ignoredByFile(filepath.Join(s.source, ignoreFile))
	if err != nil {
		return o, nil, err
	}
	// What was asked for in this call comes last, and so decides.
	patterns, err := archive.ParsePatterns(append(own, s.exclude...))
	if err != nil {
		return o, nil, err
	}
	var ignored []string
	if !s.includeIgnored {
		ignored = ignoredByGit(ctx, s.source)
	}
	behind := make(map[string]bool, len(ignored))
	for _, path := range ignored {
		behind[strings.TrimSuffix(path, "/")] = true
	}
	o.Skip = func(path string, isDir bool) bool { return behind[path] || patterns.Match(path, isDir) }
	if !s.strict {
		o.Lenient, o.Links = true, archive.LinksAbsolute
	}
	return o, ignored, nil
}

func ignoredByFile(name string) ([]string, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxIgnoreFile) {
		err = fmt.Errorf("it is not a file of at most %d bytes", maxIgnoreFile)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", ignoreFile, err)
	}
	data, err := os.ReadFile(name)
	return strings.Split(string(data), "\n"), err
}

// ignoredByGit lists what git ignores in a directory of a work tree, directories with a slash at their
// end. Elsewhere, and without git, that is nothing. No program that the work tree's own configuration
// names is run.
func ignoredByGit(ctx context.Context, dir string) []string {
	cmd := exec.CommandContext(ctx, "git", "-C", dir, "-c", "core.fsmonitor=false", "-c",
		"core.hooksPath=/dev/null", "ls-files", "--others", "--ignored", "--exclude-standard",
		"--directory", "-z")
	cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	var paths []string
	for path := range bytes.SplitSeq(out, []byte{0}) {
		if len(path) > 0 && string(path) != "./" {
			paths = append(paths, string(path))
		}
	}
	return paths
}

// maxIgnoredNames is how many of what git ignores are named.
const maxIgnoredNames = 20

// seed streams a tree into a guest: nothing of it is ever held whole, here or there.
func (p *Pyro) seed(ctx context.Context, s *instances.Session, from seeding) (record.Seed, error) {
	limits, err := seedLimits()
	if err != nil {
		return record.Seed{}, err
	}
	options, ignored, err := from.plan(ctx, limits)
	if err != nil {
		return record.Seed{}, badSeed(from.source, err)
	}
	into := link.Import{
		Destination: Workspace,
		MaxEntries:  limits.MaxEntries,
		MaxBytes:    limits.MaxBytes,
		Links:       int(options.Links),
	}
	kept := base{dir: p.instances.Dir(s.ID), baseNote: from.note()}
	pack := func(ctx context.Context, w io.Writer) (archive.Summary, error) {
		if !from.keep {
			return archive.Pack(ctx, w, from.source, options)
		}
		keep := keepPack(ctx, kept.pack())
		sum, err := archive.Pack(ctx, io.MultiWriter(w, keep), from.source, options)
		return sum, keep.finish(err)
	}
	result, sent, err := p.send(ctx, s, into, from.progress, pack)
	var source *sourceError
	if errors.As(err, &source) {
		return record.Seed{}, badSeed(from.source, source.error)
	}
	if err != nil {
		return record.Seed{}, fromLink(fmt.Sprintf("cannot seed the workspace from %q", from.source), err)
	}
	if kept.SinceNS = result.AtNS; from.keep {
		if err := kept.write(); err != nil {
			return record.Seed{}, err
		}
	}
	seed := record.Seed{
		Mode:         sent.Mode,
		SourcePath:   &from.source,
		Destination:  Workspace,
		EntryCount:   result.Entries,
		BytesWritten: result.Bytes,
		LeftOutCount: sent.Left.Count,
		IgnoredCount: int64(len(ignored)),
		Ignored:      ignored[:min(len(ignored), maxIgnoredNames)],
	}
	for _, l := range sent.Left.Names {
		seed.LeftOut = append(seed.LeftOut, l.Path+": "+l.Reason)
	}
	return seed, nil
}

// sourceError is the failure of what was to be sent, not of where it goes.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// send streams what pack writes into a guest.
func (p *Pyro) send(
	ctx context.Context, s *instances.Session, into link.Import, progress func(PullProgress),
	pack func(context.Context, io.Writer) (archive.Summary, error),
) (link.ImportResult, archive.Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	type packed struct {
		summary archive.Summary
		err     error
	}
	done := make(chan packed, 1)
	go func() {
		buffered := bufio.NewWriterSize(&counting{Writer: w, tell: progress}, 256<<10)
		summary, err := pack(ctx, buffered)
		if err == nil {
			err = buffered.Flush()
		}
		w.CloseWithError(err)
		done <- packed{summary, err}
	}()
	result, err := s.Client.Import(ctx, into, r)
	r.CloseWithError(io.ErrClosedPipe)
	cancel()
	sent := <-done
	// What went wrong on the reading side is the cause; that the guest then missed its end is the
	// consequence.
	if sent.err != nil && !errors.Is(sent.err, io.ErrClosedPipe) &&
		!(err != nil && errors.Is(sent.err, context.Canceled)) {
		return result, sent.summary, &sourceError{sent.err}
	}
	return result, sent.summary, err
}

// counting tells now and then how much has been written.
type counting struct {
	io.Writer
	tell func(PullProgress)
	n    int64
	last time.Time
}

// tellEvery is how often.
const tellEvery = 200 * time.Millisecond

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	if c.last.IsZero() {
		c.last = time.Now() // What is over at once is not worth a word.
	}
	if c.tell != nil && time.Since(c.last) >= tellEvery {
		c.last = time.Now()
		c.tell(PullProgress{Phase: PhaseCopy, Detail: "copying files", BytesDone: c.n})
	}
	return n, err
}

// PhaseCopy is the phase of [PullProgress] in which files go into a guest or out of it.
const PhaseCopy = "copy"

func badSeed(source string, err error) error {
	out := &Error{
		Kind:    ErrBadSeed,
		Message: fmt.Sprintf("cannot seed the workspace from %q: %v", source, err),
		cause:   err,
	}
	if errors.Is(err, archive.ErrLimit) {
		out.Cause = "seed_limit"
	}
	return out
}

// seedLimits bound what a workspace is filled with: $PYRO_SEED_MAX_ENTRIES and $PYRO_SEED_MAX_BYTES, else the
// archive's own defaults.
func seedLimits() (archive.Limits, error) {
	entries, err := positive(0, "PYRO_SEED_MAX_ENTRIES", 0)
	if err != nil {
		return archive.Limits{}, err
	}
	bytes, err := positive(0, "PYRO_SEED_MAX_BYTES", 0)
	return archive.Limits{MaxEntries: int64(entries), MaxBytes: int64(bytes)}, err
}
