package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestBuild(t *testing.T) {
	file := os.Stdin // a command has files without touching them
	small := vmm.Spec{
		Name:        "small",
		Kernel:      "/cache/vmlinux",
		Initrd:      "/cache/initrd",
		VCPUs:       1,
		MemMiB:      1024,
		Accelerator: vmm.KVM,
	}
	full := vmm.Spec{
		Name:        "full,name",
		Kernel:      "/cache/vmlinux",
		Initrd:      "/cache/initrd",
		VCPUs:       2,
		MemMiB:      512,
		Accelerator: vmm.TCG,
		Disks: []vmm.Disk{{File: file, ID: "base", ReadOnly: true}, {File: file, ID: "scratch"},
			{File: file, ID: "kept", Durable: true}},
		Network: file,
		MAC:     "52:54:00:12:34:56",
		Console: file,
		Memory:  &vmm.Memory{Path: "/state/a,b/memory", Shared: true},
	}
	clone := full
	clone.Memory, clone.Incoming = &vmm.Memory{Path: "/templates/memory"}, file
	newer := abilities{ReadOnlyMemory: true}
	for name, c := range map[string]struct {
		arch string
		spec vmm.Spec
		can  abilities
	}{
		"small":       {arch: "amd64", spec: small},
		"full":        {arch: "amd64", spec: full},
		"clone":       {arch: "amd64", spec: clone},
		"clone-newer": {arch: "amd64", spec: clone, can: newer},
		"full-newer":  {arch: "amd64", spec: full, can: newer},
		"arm64":       {arch: "arm64", spec: full},
	} {
		t.Run(name, func(t *testing.T) {
			p := platforms()[c.arch]
			got := build(p, c.can, p.cpu[c.spec.Accelerator][0], c.spec, ends{file, file},
				"words for the kernel")
			golden(t, name, strings.Join(got.args, "\n")+"\n")
			if want := strings.Count(strings.Join(got.args, " "), "fd="); len(got.files) < want-3 {
				t.Errorf("%d files for %d numbers", len(got.files), want)
			}
		})
	}
}

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".args")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); write it anew with -update:\n%s", path, diff)
	}
}

func TestCheckRefuses(t *testing.T) {
	good := vmm.Spec{Kernel: "k", Initrd: "i", Accelerator: vmm.TCG}
	if got, err := check(good); err != nil || got.VCPUs != 1 || got.MemMiB != 1024 {
		t.Errorf("the least spec gives %+v, %v", got, err)
	}
	for _, id := range []string{"", "a,b", "a b", "1a", "-a", strings.Repeat("a", 21), "é"} {
		bad := good
		bad.Disks = []vmm.Disk{{ID: id}}
		if _, err := check(bad); err == nil {
			t.Errorf("disk ID %q is taken", id)
		}
	}
}
