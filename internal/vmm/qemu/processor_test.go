package qemu

import (
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

const someProcessor = `processor	: 0
vendor_id	: AuthenticAMD
model name	: AMD EPYC
stepping	: 1
microcode	: 0x1000065
cpu MHz		: 3200.1
flags		: fpu vme svm
bogomips	: 6400.2

processor	: 1
vendor_id	: another
`

func TestDescribe(t *testing.T) {
	plain := describe(strings.NewReader(someProcessor))
	for change, differs := range map[string]bool{
		"3200.1/2100.9":             false,
		"6400.2/6399.9":             false,
		"another/third":             false,
		"0x1000065/0x1000066":       true,
		"vme svm/vme svm avx":       true,
		"stepping	: 1/stepping	: 2": true,
		"EPYC/EPYC 2":               true,
	} {
		from, to, _ := strings.Cut(change, "/")
		other := strings.Replace(someProcessor, from, to, 1)
		if got := describe(strings.NewReader(other)); (got != plain) != differs || other == someProcessor {
			t.Errorf("%s: %s and %s", change, plain, got)
		}
	}
}

// Under KVM a state depends on the host's processor, under TCG it does not.
func TestFingerprintOfTheProcessor(t *testing.T) {
	driver := prober(t, Options{CacheDir: t.TempDir()})
	for accelerator, want := range map[vmm.Accelerator]bool{vmm.KVM: true, vmm.TCG: false} {
		print, err := driver.Fingerprint(t.Context(), accelerator)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(print, processor()); got != want {
			t.Errorf("%s: %q has the processor: %v", accelerator, print, got)
		}
	}
}
