package qemu

import (
	"cmp"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/vmm/vmmtest"
)

// TestMain makes the test program the pyro that becomes QEMU.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		os.Exit(Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == attackMode {
		os.Exit(attack(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func TestContract(t *testing.T) { vmmtest.Run(t, config(t)) }

func BenchmarkMachine(b *testing.B) { vmmtest.Bench(b, config(b)) }

func config(t testing.TB) vmmtest.Config {
	t.Helper()
	// Another QEMU than the system's may be tested, and another accelerator than the one that all hosts have.
	driver, err := New(Options{CacheDir: t.TempDir(), Binary: os.Getenv("PYRO_TEST_QEMU")})
	if err != nil {
		t.Fatal(err)
	}
	accelerator := vmm.Accelerator(cmp.Or(os.Getenv("PYRO_TEST_ACCELERATOR"), string(vmm.TCG)))
	return vmmtest.Config{
		Driver:      driver,
		Guest:       vmmtest.NewGuest(t),
		Accelerator: accelerator,
		Checkpoints: accelerator == vmm.TCG && runtime.GOARCH == "amd64",
	}
}

// TestProbe asks the KVM of the host that the test runs on, whatever it is like.
func TestProbe(t *testing.T) {
	c := config(t)
	driver := c.Driver.(*Driver)
	driver.options.ProbeTimeout = 3 * time.Second
	choice, err := driver.Accelerator(t.Context(), vmm.Auto, c.Guest.Boot(driver))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", choice)
	if usable := choice.KVM.Usable; usable != (choice.Accelerator == vmm.KVM) ||
		usable == (choice.KVM.Reason != "") {
		t.Errorf("the choice contradicts itself: %+v", choice)
	}
	if again, err := driver.Accelerator(t.Context(), vmm.Auto, neverBoot(t)); err != nil ||
		choice.KVM.Accessible && again != choice {
		t.Errorf("got %+v, %v from memory", again, err)
	}
}
