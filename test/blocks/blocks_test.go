// Package blocks holds how much guest code an emulator has to translate for the commands that matter: a
// measure of speed that the host's load does not move, so that it can fail a change. reference.json beside it
// has the figures; a change that is meant to raise one writes it anew with -update, and says why.
package blocks

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/supervisor"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/pyro-mcp/pyro/internal/vmm/qemu"
	"github.com/pyro-mcp/pyro/test/built"
)

var update = flag.Bool("update", false, "write the figures found to reference.json")

// countsVariable names the file that the supervisor of each VM adds its count to.
const countsVariable = "BLOCKS_COUNTS"

// The growth that fails: several times what counts differ from run to run, by interrupts above all.
const (
	margin = 1.10
	more   = 300 // blocks besides
)

// TestMain lets the test binary be the pyro that supervises, with a driver that counts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			os.Exit(supervisor.Main(os.Args[2:], drivers()))
		case qemu.Subcommand:
			os.Exit(qemu.Main(os.Args[2:]))
		}
	}
	built.Program() // and with it the agent that is in this binary
	os.Exit(m.Run())
}

func drivers() vmm.Drivers {
	return vmm.Drivers{
		Default: "qemu",
		Open: map[string]func(string) (vmm.Driver, error){"qemu": func(cacheDir string) (vmm.Driver, error) {
			d, err := qemu.New(qemu.Options{CacheDir: cacheDir})
			return counting{d}, err
		}},
	}
}

// counting is a driver whose machines say at their end what was translated for them. One that goes on from a
// checkpoint has blocks already when it starts.
type counting struct{ vmm.Driver }

func (c counting) Start(ctx context.Context, spec vmm.Spec) (vmm.Machine, error) {
	m, err := c.Driver.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	n := 0
	if spec.Checkpoint != "" {
		if n, err = translated(m); err != nil {
			return nil, errors.Join(err, m.Kill())
		}
	}
	return counted{m, n}, nil
}

type counted struct {
	vmm.Machine
	before int
}

func (c counted) Kill() error {
	if err := c.note(); err != nil {
		fmt.Fprintln(os.Stderr, "no count:", err)
	}
	return c.Machine.Kill()
}

func translated(m vmm.Machine) (int, error) {
	teller, ok := m.(interface {
		Translated(ctx context.Context) (int, error)
	})
	if !ok {
		return 0, fmt.Errorf("%T does not count", m)
	}
	return teller.Translated(context.Background())
}

func (c counted) note() error {
	n, err := translated(c.Machine)
	if err != nil {
		return err
	}
	n -= c.before
	f, err := os.OpenFile(os.Getenv(countsVariable), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, n)
	return errors.Join(err, f.Close())
}

// reference is the counts by QEMU's version, then by command: another QEMU cuts its blocks otherwise.
type reference map[string]map[string]int

// commands are those that are held: nothing but a warm start, a shell, an interpreter.
var commands = map[string][]string{
	"true":   {"true"},
	"sh":     {"sh", "-c", "echo $((6 * 7))"},
	"python": {"python3", "-c", "print(6 * 7)"},
}

func TestTranslatedBlocks(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "counts")
	t.Setenv(countsVariable, file)
	p, err := pyro.New(pyro.WithStateDir(t.TempDir()), pyro.WithAccelerator("tcg"),
		pyro.WithCommand(built.Program()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	request := pyro.WarmEnvironmentRequest{Environment: "debian:12"}
	if _, err := p.WarmEnvironment(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	counting, err := pyro.New(pyro.WithStateDir(t.TempDir()), pyro.WithAccelerator("tcg"),
		pyro.WithCommand(self))
	if err != nil {
		t.Fatal(err)
	}
	defer counting.Close()
	driver, err := qemu.New(qemu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	version, _, err := driver.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for name, argv := range commands {
		found[name] = count(t, counting, file, argv)
	}
	compare(t, "QEMU "+version, found)
}

// count is the least of three: what interrupts a guest adds to it, nothing takes away.
func count(t *testing.T, p *pyro.Pyro, file string, argv []string) int {
	t.Helper()
	var all []int
	for range 3 {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := p.RunInVM(t.Context(), pyro.RunInVMRequest{
			Shape:       pyro.Shape{Environment: "debian:12"},
			CommandLine: pyro.CommandLine{Argv: argv},
		})
		if err != nil || r.ExitCode != 0 {
			t.Fatalf("%q: %v, exit status %d", argv, err, r.ExitCode)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(string(data))
		if len(lines) != 1 {
			t.Fatalf("%q: the counts are %q, not one", argv, lines)
		}
		n, err := strconv.Atoi(lines[0])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	t.Logf("%q: %d blocks", argv, all)
	return slices.Min(all)
}

func compare(t *testing.T, version string, found map[string]int) {
	t.Helper()
	known := reference{}
	data, err := os.ReadFile("reference.json")
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
	if *update {
		known[version] = found
		out, err := json.MarshalIndent(known, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("reference.json", append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	before, ok := known[version]
	if !ok {
		t.Logf("reference.json has no figures for %s: nothing is compared", version)
	}
	for name, was := range before {
		if is := found[name]; float64(is) > margin*float64(was)+more {
			t.Errorf("%s: %d blocks are translated, %d before", name, is, was)
		}
	}
}
