package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/vmm/qemu"
)

// TestMain lets the test binary be the program that confines QEMU, as pyro is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == qemu.Subcommand {
		os.Exit(qemu.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// source offers one environment with an image of one line.
type source struct{}

func (source) Offers() []environment.Offer              { return []environment.Offer{{Name: "small"}} }
func (source) Match(name string) (full string, ok bool) { return name, name == "small" }
func (source) Resolve(_ context.Context, w *environment.Workshop) (environment.Plan, error) {
	build := func(ctx context.Context) (environment.Manifest, error) {
		image, err := w.Image(ctx, func(f *os.File) error {
			_, err := f.WriteString("an image\n")
			return err
		})
		return environment.Manifest{Source: "test", Image: image}, err
	}
	return environment.Plan{InputsSHA256: "small", Build: build}, nil
}

// drivers is the table with QEMU alone.
func drivers() vmm.Drivers {
	open := func(cacheDir string) (vmm.Driver, error) { return qemu.New(qemu.Options{CacheDir: cacheDir}) }
	return vmm.Drivers{Default: "qemu", Open: map[string]func(string) (vmm.Driver, error){"qemu": open}}
}

// host is a host with a QEMU of a version, or none, and with the environment or without.
func host(t *testing.T, version string, installed bool) Options {
	t.Helper()
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if version != "" {
		script := "#!/bin/sh\necho 'QEMU emulator version " + version + "'\n"
		if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{
		CacheDir:    filepath.Join(t.TempDir(), "cache"),
		StateDir:    filepath.Join(t.TempDir(), "not", "there"),
		Drivers:     drivers(),
		Accelerator: "auto",
		Confinement: []Finding{{Name: "landlock", OK: true}},
		Try: func(context.Context, string) (string, error) {
			t.Error("a guest was tried")
			return "", errors.New("tried")
		},
	}
	if installed {
		request := environment.PullRequest{Name: "small"}
		if _, err := environment.Open(o.CacheDir, source{}).Pull(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// problems are the fatal issues; each issue must say what to do.
func problems(t *testing.T, r Report) (fatal []string) {
	t.Helper()
	for _, issue := range r.Issues {
		if issue.Problem == "" || issue.Remedy == "" {
			t.Errorf("an issue without words: %+v", issue)
		}
		if issue.Fatal {
			fatal = append(fatal, issue.Problem+" | "+issue.Remedy)
		}
	}
	return fatal
}

func TestNoGuestWithoutQEMU(t *testing.T) {
	for version, want := range map[string]string{"": "not installed", "6.2.0": "6.2.0"} {
		r, err := Run(t.Context(), host(t, version, true))
		if err != nil {
			t.Fatal(err)
		}
		fatal := problems(t, r)
		if len(fatal) != 1 || !strings.Contains(fatal[0], want) {
			t.Errorf("QEMU %q: the problems are %q", version, fatal)
		}
		if r.RuntimeOK || r.Capabilities.VMBoot != "no" || r.Capabilities.GuestExec != "no" {
			t.Errorf("QEMU %q: %+v", version, r.Capabilities)
		}
		if r.KVM.Usable || r.KVM.Reason == "" {
			t.Errorf("QEMU %q: KVM is %+v", version, r.KVM)
		}
	}
}

func TestNoEnvironment(t *testing.T) {
	r, err := Run(t.Context(), host(t, "8.2.0", false))
	if err != nil {
		t.Fatal(err)
	}
	fatal := problems(t, r)
	if len(fatal) != 1 || !strings.Contains(fatal[0], "pyro env pull") {
		t.Errorf("the problems are %q", fatal)
	}
	if r.RuntimeOK || r.Capabilities.VMBoot != "unknown" || r.Capabilities.GuestExec != "unknown" {
		t.Errorf("what was not tried is %+v", r.Capabilities)
	}
	if !strings.Contains(r.Platform.VMM, "QEMU 8.2.0") {
		t.Errorf("the VMM is %q", r.Platform.VMM)
	}
	if len(r.Capabilities.VMMConfinement) == 0 {
		t.Error("nothing is said of the VMM's confinement")
	}
}

func TestAGuestThatRuns(t *testing.T) {
	for accelerator, slow := range map[string]bool{"kvm": false, "tcg": true} {
		o := host(t, "8.2.0", true)
		tried := ""
		o.Try = func(_ context.Context, name string) (string, error) {
			tried = name
			return accelerator, nil
		}
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if fatal := problems(t, r); len(fatal) != 0 || !r.RuntimeOK {
			t.Errorf("%s: the problems are %q", accelerator, fatal)
		}
		c := r.Capabilities
		if tried != "small" || c.Environment != "small" || c.VMBoot != "yes" || c.GuestExec != "yes" {
			t.Errorf("%s: tried %q, %+v", accelerator, tried, c)
		}
		said := slices.ContainsFunc(r.Issues, func(i Issue) bool {
			return strings.Contains(i.Problem, "emulation")
		})
		if r.Accelerator != accelerator || said != slow {
			t.Errorf("%s: the accelerator is %q, a word about slowness %v", accelerator, r.Accelerator, said)
		}
	}
}

// Who asked for emulation needs no word about it.
func TestEmulationThatWasAskedFor(t *testing.T) {
	o := host(t, "8.2.0", true)
	o.Accelerator = string(vmm.TCG)
	o.Try = func(context.Context, string) (string, error) { return string(vmm.TCG), nil }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, issue := range r.Issues {
		if strings.Contains(issue.Problem, "emulation") {
			t.Errorf("an issue that is none: %+v", issue)
		}
	}
}

type hinted struct{ error }

func (hinted) Hint() string { return "plug it in" }

func TestAGuestThatDoesNotRun(t *testing.T) {
	for remedy, failure := range map[string]error{
		"see the message": errors.New("it broke"),
		"plug it in":      hinted{errors.New("it broke")},
	} {
		o := host(t, "8.2.0", true)
		o.Try = func(context.Context, string) (string, error) { return "", failure }
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		want := "a guest could not be tried: it broke | " + remedy
		if fatal := problems(t, r); len(fatal) != 1 || fatal[0] != want {
			t.Errorf("the problems are %q, not %q", fatal, want)
		}
		if r.RuntimeOK || r.Capabilities.VMBoot != "no" || r.Capabilities.GuestExec != "no" {
			t.Errorf("%+v", r.Capabilities)
		}
	}
}

func TestPlatformAndSpace(t *testing.T) {
	o := host(t, "", true)
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Platform
	if p.OS != "linux" || p.Kernel == "" || p.CPUs < 1 || p.MemoryMiB < 1 {
		t.Errorf("the platform is %+v", p)
	}
	c := r.EnvironmentCache
	if !slices.Equal(c.Installed, []string{"small"}) || c.Path != o.CacheDir || c.StatePath != o.StateDir {
		t.Errorf("the cache is %+v", c)
	}
	if c.Bytes <= 0 || c.StateBytes != 0 || c.FreeBytes <= 0 || c.StateFreeBytes <= 0 {
		t.Errorf("the cache is %+v", c)
	}
}

// A sparse file takes what it holds, not what it could.
func TestUsageIsOfBlocks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sparse"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "sparse"), 1<<30); err != nil {
		t.Fatal(err)
	}
	if n := usage(dir); n > 1<<20 {
		t.Errorf("an empty file of 1 GiB takes %d bytes", n)
	}
	if n := usage(filepath.Join(dir, "none")); n != 0 {
		t.Errorf("nothing takes %d bytes", n)
	}
}

// A damaged manifest is an issue with its name, and does not hide the rest.
func TestDamagedCache(t *testing.T) {
	o := host(t, "", true)
	manifest := filepath.Join(o.CacheDir, "environments", "small.json")
	if err := os.WriteFile(manifest, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if fatal := problems(t, r); !slices.ContainsFunc(fatal, func(p string) bool {
		return strings.Contains(p, `"small"`)
	}) {
		t.Errorf("the problems are %q", fatal)
	}
}
