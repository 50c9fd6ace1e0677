package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// archive is what Debian offers for a suite now, verified.
type archive struct {
	*universe
	mirror string    // of the suite itself
	date   time.Time // of the newest of its parts
	state  string    // dates of the parts, for people
}

// part is one of the suites that make up a release: the release itself, its updates, its security updates.
type part struct {
	codename string
	mirrors  []string

	release *release
	mirror  string
	index   []byte
}

// openArchive fetches and verifies a suite's parts and their indexes.
func (s *Source) openArchive(
	ctx context.Context, w *environment.Workshop, codename string,
) (*archive, error) {
	requested := w.Request.Mirror
	if requested == "" {
		requested = s.options.Mirror
	}
	m := findMirrors(requested, s.options.AptDir, codename)
	parts := []*part{
		{codename: codename + "-security", mirrors: m.security},
		{codename: codename + "-updates", mirrors: m.archive},
		{codename: codename, mirrors: m.archive},
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, p := range parts {
		g.Go(func() error { return s.fetchRelease(gctx, w, p) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	g, gctx = errgroup.WithContext(ctx)
	for _, p := range parts {
		g.Go(func() error { return p.fetchIndex(gctx, w, s.options.Architecture) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	a := &archive{universe: newUniverse(s.options.Architecture)}
	for _, p := range parts {
		if err := a.add(p.index, p.mirror); err != nil {
			return nil, fmt.Errorf("cannot read the index of %s: %w", p.codename, err)
		}
		if p.release.date.After(a.date) {
			a.date = p.release.date
		}
		a.mirror = p.mirror // the last is the suite itself
		a.state = p.codename + " " + p.release.date.Format(time.RFC3339) +
			strings.TrimRight(", "+a.state, ", ")
	}
	return a, nil
}

// fetchRelease gets a part's InRelease from the first of its mirrors that has one.
func (s *Source) fetchRelease(ctx context.Context, w *environment.Workshop, p *part) error {
	var first error
	for _, mirror := range p.mirrors {
		url := mirror + "/dists/" + p.codename + "/InRelease"
		data, err := w.Get(ctx, url, maxRelease)
		if err != nil {
			if first == nil {
				first = err
			}
			if ctx.Err() != nil {
				return first
			}
			continue
		}
		p.mirror = mirror
		keys, err := s.keys()
		if err != nil {
			return err
		}
		if p.release, err = verifyRelease(data, p.codename, keys, s.options.Now()); err != nil {
			return fmt.Errorf("cannot trust %s: %w", url, err)
		}
		if err := refuseOlder(w.StatePath("debian-"+p.codename+".json"), p.release, mirror); err != nil {
			return fmt.Errorf("cannot use %s: %w", url, err)
		}
		return nil
	}
	return first
}

// maxIndex bounds an index when decompressed; Debian's largest has 55 MB.
const maxIndex = 1 << 30

// fetchIndex brings a part's list of packages. The smaller file would take longer: xz is slow to decompress.
func (p *part) fetchIndex(ctx context.Context, w *environment.Workshop, arch string) error {
	for _, suffix := range []string{".gz", ".xz", ""} {
		name := "main/binary-" + arch + "/Packages" + suffix
		f, ok := p.release.files[name]
		if !ok {
			continue
		}
		dir := p.mirror + "/dists/" + p.codename + "/"
		b := environment.Blob{SHA256: f.sha256, Size: f.size, Place: "indexes/" + f.sha256}
		if p.release.byHash {
			b.URLs = append(b.URLs, dir+name[:strings.LastIndexByte(name, '/')]+"/by-hash/SHA256/"+f.sha256)
		}
		b.URLs = append(b.URLs, dir+name)
		return w.FetchAll(ctx, []environment.Blob{b}, func(_ int, path string) (err error) {
			p.index, err = readIndex(path, suffix)
			return err
		})
	}
	return fmt.Errorf("cannot use %s of %s: it lists no packages for %s", p.codename, p.mirror, arch)
}

func readIndex(path, suffix string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := decompress(f, suffix)
	if err != nil {
		return nil, fmt.Errorf("cannot decompress the index %q: %w", path, err)
	}
	defer plain.Close()
	var data bytes.Buffer
	data.Grow(64 << 20)
	n, err := io.Copy(&data, io.LimitReader(plain, maxIndex+1))
	if err == nil && n > maxIndex {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot decompress the index %q: %w", path, err)
	}
	return data.Bytes(), nil
}
