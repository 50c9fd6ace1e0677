// Command network measures what a guest's network costs: throughput both ways, round trips and HTTP requests,
// each from a guest and from this host without one, in turn; and the supervisor's memory with 1,000 open
// connections. It prints a table and then a JSON document.
//
//	make bench-network
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// clientCommand is the word by which the program is its own client, in the guest and on the host.
const clientCommand = "client"

// settings are what a run can be told.
type settings struct {
	pyro, environment string
	vcpus             int
	seconds           float64
	rounds            int
	connections       int
}

// row is one measure, the medians of all rounds.
type row struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Guest   float64 `json:"guest"`
	Without float64 `json:"without_vm"`
}

// report is what a run found.
type report struct {
	Date        time.Time `json:"date"`
	Accelerator string    `json:"accelerator"`
	VCPUs       int       `json:"vcpus"`
	Rounds      int       `json:"rounds"`
	Seconds     float64   `json:"seconds_each"`
	LoadBefore  string    `json:"load_before"`
	Rows        []row     `json:"measures"`
	Memory      *memory   `json:"supervisor_memory"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == clientCommand {
		exit(client(os.Args[2:]))
		return
	}
	var s settings
	flag.StringVar(&s.pyro, "pyro", "bin/pyro", "the program to measure")
	flag.StringVar(&s.environment, "environment", "debian:12", "the guest's environment")
	flag.IntVar(&s.vcpus, "vcpu-count", 2, "the guest's virtual CPUs")
	flag.Float64Var(&s.seconds, "seconds", 3, "seconds for each measure of each round")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; the table shows medians")
	flag.IntVar(&s.connections, "connections", 1000, "open connections for the memory")
	flag.Parse()
	exit(measure(context.Background(), s))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/network:", err)
		os.Exit(1)
	}
}

// measure runs all and prints what it found.
func measure(ctx context.Context, s settings) error {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	r := report{
		Date:       time.Now().UTC().Truncate(time.Second),
		VCPUs:      s.vcpus,
		Rounds:     s.rounds,
		Seconds:    s.seconds,
		LoadBefore: strings.Join(strings.Fields(string(load))[:3], " "),
	}
	host, err := listen()
	if err != nil {
		return err
	}
	defer host.close()
	g, err := startGuest(ctx, s, host)
	if err != nil {
		return err
	}
	defer g.close()
	r.Accelerator = g.task.Accelerator
	for _, m := range modes() {
		var in, out []float64
		for range s.rounds {
			from, err := g.run(ctx, m, s.seconds)
			if err != nil {
				return fmt.Errorf("%s from the guest: %w", m.label, err)
			}
			without, err := runHere(ctx, host.ports(), m, s.seconds)
			if err != nil {
				return fmt.Errorf("%s without a VM: %w", m.label, err)
			}
			in, out = append(in, from), append(out, without)
		}
		r.Rows = append(r.Rows, row{m.label, m.unit, median(in), median(out)})
	}
	if r.Memory, err = g.hold(ctx, s.connections); err != nil {
		return fmt.Errorf("with %d open connections: %w", s.connections, err)
	}
	return r.print()
}

// runHere is a measure without a VM: the same client on this host.
func runHere(ctx context.Context, ports string, m mode, seconds float64) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, m.words("127.0.0.1", ports, seconds)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return readFigure(string(out))
}

func (r report) print() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "measure\tguest (%s)\twithout a VM\tunit\tshare\n", r.Accelerator)
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%s\t%.1f %%\n", row.Name, row.Guest, row.Without, row.Unit,
			100*row.Guest/row.Without)
	}
	w.Flush()
	m := r.Memory
	fmt.Printf("\nsupervisor, resident: %.1f MiB idle, %.1f MiB with %d open connections (%.1f KiB each); "+
		"load before: %s\n\n",
		float64(m.IdleBytes)/(1<<20), float64(m.OpenBytes)/(1<<20), m.Connections,
		float64(m.OpenBytes-m.IdleBytes)/1024/float64(m.Connections), r.LoadBefore)
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// selfCopy puts this program into a directory, as the guest's client.
func selfCopy(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "client"), data, 0o755)
}
