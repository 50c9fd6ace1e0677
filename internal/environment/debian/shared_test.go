package debian

import (
	"context"
	"net/http"
	"os"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// bare is a source whose environments bring no kernel.
type bare struct{ *Source }

func (bare) Match(name string) (string, bool) { return name, name == "bare" || name == "other" }
func (bare) Offers() []environment.Offer      { return nil }
func (b bare) Resolve(_ context.Context, w *environment.Workshop) (environment.Plan, error) {
	return environment.Plan{InputsSHA256: w.Name,
		Build: func(ctx context.Context) (environment.Manifest, error) {
			k, err := b.Kernel(ctx, w)
			if err != nil {
				return environment.Manifest{}, err
			}
			image, err := w.Image(ctx, func(f *os.File) error {
				_, err := f.WriteString(w.Name)
				return err
			})
			return environment.Manifest{Source: "bare", Image: image, Kernel: k}, err
		}}, nil
}

// The kernel is fetched and verified once, and again only if that is asked for.
func TestSharedKernel(t *testing.T) {
	m := newArchive(t)
	s, err := New(Options{
		Mirror: m.URL + "/debian",
		AptDir: "none",
		Keys:   openpgp.EntityList{m.key},
		Now:    now,
	})
	if err != nil {
		t.Fatal(err)
	}
	store := environment.Open(t.TempDir(), bare{s})
	requests := 0
	m.fault = func(http.ResponseWriter, *http.Request) bool { requests++; return false }
	pull := func(name string, force bool) environment.Kernel {
		t.Helper()
		r, err := store.Pull(t.Context(), environment.PullRequest{Name: name, Force: force})
		if err != nil {
			t.Fatal(err)
		}
		return r.Manifest.Kernel
	}
	first := pull("bare", false)
	if first.Version != "6.1-cloud-amd64" || requests == 0 {
		t.Errorf("got %+v with %d requests", first, requests)
	}
	requests = 0
	if second := pull("other", false); second.SHA256 != first.SHA256 || second.Path != first.Path ||
		requests != 0 {
		t.Errorf("got %+v with %d requests", second, requests)
	}
	if pull("other", true); requests == 0 {
		t.Error("the archive was not asked, though the pull was forced")
	}
	m.fault = func(w http.ResponseWriter, r *http.Request) bool { return flip(m, w, r) }
	if _, err := environment.Open(t.TempDir(), bare{s}).Pull(t.Context(),
		environment.PullRequest{Name: "bare"}); err == nil {
		t.Error("a kernel that was changed on its way was taken")
	}
}
