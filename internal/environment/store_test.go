package environment

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/pyro-mcp/pyro/internal/image"
)

// maker is a small source: its environments hold one file, and a kernel.
type maker struct {
	state  string // what the names stand for now
	builds atomic.Int32
	stop   func(point string) // called at each point of a pull
}

func (m *maker) Offers() []Offer {
	return []Offer{{"demo:1", "1", "one", "demo"}, {"demo:1-big", "1", "more", "demo"}}
}

func (m *maker) Match(name string) (string, bool) { return name, strings.HasPrefix(name, "demo:1") }

func (m *maker) at(point string) {
	if m.stop != nil {
		m.stop(point)
	}
}

func (m *maker) Resolve(_ context.Context, w *Workshop) (Plan, error) {
	m.at("resolve")
	return Plan{InputsSHA256: m.state,
		Build: func(ctx context.Context) (Manifest, error) { return m.build(ctx, w) }}, nil
}

func (m *maker) build(ctx context.Context, w *Workshop) (Manifest, error) {
	m.builds.Add(1)
	w.Phase(PhaseDownload, "downloading")
	if err := WriteFile(w.store.path("packages", "p-"+m.state+".deb"), []byte("deb")); err != nil {
		return Manifest{}, err
	}
	m.at("download")
	k, err := w.Kernel(ctx, "k-"+m.state, func() (KernelFiles, error) {
		m.at("kernel")
		return KernelFiles{
			Version: "6",
			Package: "linux=6",
			Image:   []byte("kernel " + m.state),
			Modules: map[string][]byte{"a": []byte("A"), "b": []byte("B")},
			Order:   []string{"b", "a"},
		}, nil
	})
	if err != nil {
		return Manifest{}, err
	}
	w.Phase(PhaseImage, "writing")
	f, err := w.Image(ctx, func(f *os.File) error {
		m.at("image")
		t := image.NewTree()
		if err := t.Add("state", image.Entry{Mode: 0o644, Data: []byte(m.state)}); err != nil {
			return err
		}
		_, err := t.WriteEROFS(ctx, f, image.EROFSOptions{})
		return err
	})
	m.at("made")
	return Manifest{
		Version:  "1",
		Source:   "demo",
		Image:    f,
		Kernel:   k,
		Packages: []Package{{Name: "p", SHA256: "p-" + m.state}},
	}, err
}

func TestPullAndGet(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx := context.Background()
	m := &maker{state: "one"}
	s := Open(t.TempDir(), m)
	if _, err := s.Get("demo:1"); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("before the pull the error is %v", err)
	}
	var seen []string
	r, err := s.Pull(ctx, PullRequest{Name: "demo:1", Progress: func(p Progress) {
		seen = append(seen, p.Phase)
	}})
	if err != nil || !r.Changed {
		t.Fatalf("the first pull changed %v, error %v", r.Changed, err)
	}
	if got := slices.Compact(seen); !slices.Equal(got, []string{PhaseResolve, PhaseDownload, PhaseImage}) ||
		len(r.Phases) != 3 {
		t.Errorf("the phases were %v and %v", got, r.Phases)
	}
	got, err := s.Get("demo:1")
	if err != nil || got.Image.SHA256 == "" || got.Name != "demo:1" || got.CreatedAt.IsZero() ||
		got.DiskBytes == 0 {
		t.Fatalf("the manifest is %+v, error %v", got, err)
	}
	if digest, size, err := digestFile(got.Image.Path); err != nil || digest != got.Image.SHA256 ||
		size != got.Image.Size {
		t.Errorf("the image has the digest %s and %d bytes, error %v", digest, size, err)
	}
	if r, err := s.Pull(ctx, PullRequest{Name: "demo:1"}); err != nil || r.Changed || m.builds.Load() != 1 {
		t.Errorf("the second pull changed %v, error %v", r.Changed, err)
	}
	m.state = "two"
	if r, err = s.Pull(ctx, PullRequest{Name: "demo:1"}); err != nil || !r.Changed ||
		r.Manifest.Image.SHA256 == got.Image.SHA256 {
		t.Errorf("the pull of an update changed %v, error %v", r.Changed, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || !list[0].Installed || list[1].Installed {
		t.Errorf("the list is %+v, error %v", list, err)
	}
	rd, err := s.Initrd(ctx, r.Manifest.Kernel, Agent{"digest", func() ([]byte, error) {
		return []byte("agent"), nil
	}}, "")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(rd)
	if err != nil || !strings.Contains(string(data), "b\na\n") || !strings.Contains(string(data), "agent") {
		t.Errorf("the initramfs is not right; error %v", err)
	}
}

func TestUnknownNames(t *testing.T) {
	s := Open(t.TempDir(), &maker{})
	for name, want := range map[string]string{"demo;1": `did you mean "demo:1"?`, "ubuntu:24.04": ""} {
		_, err := s.Get(name)
		hint := ""
		if hinted := (*unknownError)(nil); errors.As(err, &hinted) {
			hint = hinted.Hint()
		}
		if !errors.Is(err, ErrUnknown) || hint != want {
			t.Errorf("%q gives the error %v with the hint %q", name, err, hint)
		}
	}
	if _, err := s.Pull(context.Background(), PullRequest{Name: "demo"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("the pull gives the error %v", err)
	}
}

func TestTwoPullsAtOnce(t *testing.T) {
	m := &maker{state: "one"}
	s := Open(t.TempDir(), m)
	var wg sync.WaitGroup
	var changed atomic.Int32
	for range 4 {
		wg.Go(func() {
			r, err := s.Pull(context.Background(), PullRequest{Name: "demo:1"})
			if err != nil {
				t.Error(err)
			}
			if r.Changed {
				changed.Add(1)
			}
		})
	}
	wg.Wait()
	if m.builds.Load() != 1 || changed.Load() != 1 {
		t.Errorf("%d pulls built, %d say that they changed something", m.builds.Load(), changed.Load())
	}
}

// TestMain is also the program that the test of killed pulls kills: it pulls, and says when it is at the
// point.
func TestMain(m *testing.M) {
	point, dir := os.Getenv("TEST_PULL_STOP"), os.Getenv("TEST_PULL_DIR")
	if point == "" {
		os.Exit(m.Run())
	}
	source := &maker{state: "two", stop: func(at string) {
		if at == point {
			fmt.Println("there")
			select {}
		}
	}}
	_, err := Open(dir, source).Pull(context.Background(), PullRequest{Name: "demo:1"})
	fmt.Println(err)
}

func TestKilledPullLeavesTheOldOrNone(t *testing.T) {
	for _, installed := range []bool{false, true} {
		for _, point := range []string{"resolve", "download", "kernel", "image", "made"} {
			t.Run(fmt.Sprintf("%s installed=%v", point, installed), func(t *testing.T) {
				dir := t.TempDir()
				s := Open(dir, &maker{state: "one"})
				var old Manifest
				if installed {
					r, err := s.Pull(context.Background(), PullRequest{Name: "demo:1"})
					if err != nil {
						t.Fatal(err)
					}
					old = r.Manifest
				}
				killPull(t, dir, point)
				got, err := s.Get("demo:1")
				if installed && (err != nil || got.Image != old.Image) ||
					!installed && !errors.Is(err, ErrNotInstalled) {
					t.Errorf("the killed pull left %v, error %v", got.Image, err)
				}
				r, err := Open(dir, &maker{state: "two"}).Pull(context.Background(),
					PullRequest{Name: "demo:1"})
				if err != nil || !r.Changed {
					t.Fatalf("the next pull changed %v, error %v", r.Changed, err)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*")); len(left) != 0 {
					t.Errorf("temporary files are left: %q", left)
				}
			})
		}
	}
}

func killPull(t *testing.T, dir, point string) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "TEST_PULL_STOP="+point, "TEST_PULL_DIR="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "there\n" {
		t.Fatalf("the pull said %q, error %v", line, err)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
}

func TestPrune(t *testing.T) {
	ctx := context.Background()
	m := &maker{state: "one"}
	dir := t.TempDir()
	s := Open(dir, m)
	if r, err := s.Prune(ctx, PruneRequest{}); err != nil || r.FreedBytes != 0 {
		t.Fatalf("pruning nothing gave %+v, error %v", r, err)
	}
	first, err := s.Pull(ctx, PullRequest{Name: "demo:1"})
	if err != nil {
		t.Fatal(err)
	}
	m.state = "two"
	second, err := s.Pull(ctx, PullRequest{Name: "demo:1"})
	if err != nil {
		t.Fatal(err)
	}
	killPull(t, dir, "resolve")
	// The first is used by a VM still.
	r, err := s.Prune(ctx, PruneRequest{InUse: func() ([]string, error) {
		return []string{first.Manifest.Image.SHA256, first.Manifest.Kernel.SHA256}, nil
	}})
	if err != nil || !exists(first.Manifest.Image.Path) || !exists(first.Manifest.Kernel.Path) ||
		!exists(second.Manifest.Image.Path) {
		t.Errorf("pruned %q, error %v", r.Removed, err)
	}
	if len(r.Removed) != 2 || r.Removed[0] != "packages/p-one.deb" ||
		!strings.HasPrefix(r.Removed[1], "tmp/") || r.FreedBytes == 0 {
		t.Errorf("pruned %q, %d bytes", r.Removed, r.FreedBytes)
	}
	dry, err := s.Prune(ctx, PruneRequest{DryRun: true})
	if err != nil || !exists(first.Manifest.Image.Path) || len(dry.Removed) != 2 || dry.FreedBytes == 0 {
		t.Errorf("a dry run says %q, %d bytes, error %v", dry.Removed, dry.FreedBytes, err)
	}
	r, err = s.Prune(ctx, PruneRequest{})
	if !slices.Equal(r.Removed, dry.Removed) || r.FreedBytes != dry.FreedBytes {
		t.Errorf("pruned %q, %d bytes, and a dry run said %q, %d", r.Removed, r.FreedBytes, dry.Removed,
			dry.FreedBytes)
	}
	if err != nil || exists(first.Manifest.Image.Path) || exists(first.Manifest.Kernel.Path) ||
		len(r.Removed) != 2 {
		t.Errorf("pruned %q, error %v", r.Removed, err)
	}
	if _, err := s.Get("demo:1"); err != nil {
		t.Errorf("after pruning: %v", err)
	}
	release, err := s.Hold(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(ctx, PruneRequest{All: true}); !errors.Is(err, ErrBusy) {
		t.Errorf("pruning what is held gave the error %v", err)
	}
	release()
	if _, err := s.Prune(ctx, PruneRequest{All: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("demo:1"); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("after pruning all: %v", err)
	}
}

func TestRottenManifest(t *testing.T) {
	s := Open(t.TempDir(), &maker{state: "one"})
	if err := WriteFile(s.manifestPath("demo:1"), []byte(`{"image": `)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("demo:1"); err == nil || !strings.Contains(err.Error(), "pull it again") {
		t.Errorf("got the error %v", err)
	}
	if r, err := s.Pull(context.Background(), PullRequest{Name: "demo:1"}); err != nil || !r.Changed {
		t.Errorf("pulling it again: %v", err)
	}
}
