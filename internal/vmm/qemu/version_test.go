package qemu

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

func TestParseVersion(t *testing.T) {
	for out, want := range map[string]string{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright": "7.2.22",
		"QEMU emulator version 10.0.0\n":                                         "10.0.0",
		"QEMU emulator version 9.1.50 (v9.1.0-1-gabc)":                           "9.1.50",
		"":                            "",
		"BusyBox v1.36":               "",
		"QEMU emulator version x.y.z": "",
	} {
		got, err := parseVersion(out)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q gives %q, %v", out, got, err)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"7.1.99", "7.2", true}, {"7.2.0", "7.2", false}, {"10.0", "7.2", false}, {"7.2", "7.2.1", true}} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("older(%s, %s) is %v", c.a, c.b, got)
		}
	}
}

// fake is a QEMU that only knows its version.
func fake(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu-system-x86_64")
	script := "#!/bin/sh\necho 'QEMU emulator version " + version + "'\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMissingAndTooOld(t *testing.T) {
	for binary, want := range map[string]error{"qemu-that-is-not": vmm.ErrMissing,
		fake(t, "6.2.0 (Debian)"): vmm.ErrTooOld} {
		driver, err := New(Options{Binary: binary})
		if err != nil {
			t.Fatal(err)
		}
		_, err = driver.Start(t.Context(), vmm.Spec{Kernel: "k", Initrd: "i", Accelerator: vmm.TCG})
		var hint vmm.Hinter
		if !errors.Is(err, want) || !errors.As(err, &hint) || hint.Hint() == "" {
			t.Errorf("%s: %v", binary, err)
		}
		t.Log(err)
	}
}

func TestVersionIsRemembered(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	path := fake(t, "8.0.0")
	ask := func() string {
		driver, _ := New(Options{Binary: path, CacheDir: cache})
		version, _, err := driver.Version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	if got := ask(); got != "8.0.0" {
		t.Errorf("version is %q", got)
	}
	// The same file by its size and time, so that it is not asked again.
	info, _ := os.Stat(path)
	os.WriteFile(path, []byte("#!/bin/sh\necho 'QEMU emulator version 9.0.0'\n"), 0o755)
	os.Chtimes(path, info.ModTime(), info.ModTime())
	if got := ask(); got != "8.0.0" {
		t.Errorf("version is %q, not remembered", got)
	}
	os.WriteFile(path, []byte("#!/bin/sh\necho 'QEMU emulator version 10.0.0'\n"), 0o755)
	if got := ask(); got != "10.0.0" {
		t.Errorf("version is %q after an upgrade", got)
	}
	os.WriteFile(filepath.Join(cache, "qemu.json"), []byte("{damaged"), 0o600)
	if got := ask(); got != "10.0.0" {
		t.Errorf("version is %q with a damaged memory", got)
	}
}

func TestParseAbilities(t *testing.T) {
	const old = "memory-backend-file options:\n  align=<int>\n  readonly=<bool>\n" +
		"  share=<bool>           - Mark the memory\n"
	const newer = old + "  rom=<OnOffAuto>        - Whether to create Read Only Memory (ROM)\n"
	for out, want := range map[string]abilities{"": {}, old: {}, newer: {ReadOnlyMemory: true}} {
		if got := parseAbilities(out); got != want {
			t.Errorf("%q gives %+v", out, got)
		}
	}
}
