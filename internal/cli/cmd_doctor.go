package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/doctor"
	"github.com/pyro-mcp/pyro/internal/hostcompat"
	"github.com/spf13/cobra"
)

func newDoctor(a *app) *cobra.Command {
	verify := false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this host can do, proven by doing it, and what to fix",
		Long: `Boots a guest and runs a command in it, and reports the platform, QEMU, KVM, the accelerator
chosen, caches and disk space, with a remedy for each problem. The exit status is 1 if pyro run
could not work.`,
		Example:           "  pyro doctor\n  pyro doctor --json\n  pyro doctor --verify",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := with(a, func(p *pyro.Pyro) (doctor.Report, error) {
				return doctor.Run(cmd.Context(), doctor.Options{
					CacheDir:    p.Options().CacheDir,
					StateDir:    p.Options().StateDir,
					Drivers:     drivers(),
					Accelerator: p.Options().Accelerator,
					Verify:      verify,
					Confinement: confinement(cmd.Context()),
					Try: func(ctx context.Context, environment string) (string, error) {
						return tryGuest(ctx, p, environment, "vm")
					},
					TryGVisor: func(ctx context.Context, environment string) error {
						_, err := tryGuest(ctx, p, environment, "gvisor")
						return err
					},
					GVisor: p.Options().Isolation == "gvisor",
				})
			})
			if err != nil {
				return err
			}
			if err := a.print(report, func(w io.Writer) { showReport(w, report) }); err != nil {
				return err
			}
			if !report.RuntimeOK {
				return exitStatus(exitFailure)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false,
		"read every installed environment and compare it with what was installed")
	a.jsonFlag(cmd)
	return cmd
}

// confinement lists what host_compat gives on this host.
func confinement(ctx context.Context) []doctor.Finding {
	var found []doctor.Finding
	for _, line := range hostcompat.Probe(ctx) {
		found = append(found, doctor.Finding{Name: line.Name, OK: line.Confined, Detail: line.Detail})
	}
	return found
}

// tryGuest runs a command in a guest and tells what the guest ran on.
func tryGuest(
	ctx context.Context, p *pyro.Pyro, environment, isolation string,
) (string, error) {
	result, err := p.RunInVM(ctx, pyro.RunInVMRequest{
		Shape:       pyro.Shape{Environment: environment, Isolation: isolation},
		CommandLine: pyro.CommandLine{Argv: []string{"/bin/echo", "pyro"}},
	})
	if err != nil {
		return "", err
	}
	if result.ExitCode != 0 || strings.TrimSpace(result.Stdout) != "pyro" {
		return "", fmt.Errorf("a command in the guest gave %q and exit status %d", result.Stdout,
			result.ExitCode)
	}
	return result.Accelerator, nil
}

func showReport(w io.Writer, r doctor.Report) {
	kvm := "usable"
	if !r.KVM.Usable {
		kvm = "not usable: " + r.KVM.Reason
	}
	table(w,
		[]string{"platform", fmt.Sprintf("%s, Linux %s, %s, %d CPUs, %d MiB", r.Platform.Distribution,
			r.Platform.Kernel,
			r.Platform.Architecture, r.Platform.CPUs, r.Platform.MemoryMiB)},
		[]string{"VMM", cmp.Or(r.Platform.VMM, "none")},
		[]string{"KVM", kvm},
		[]string{"accelerator", cmp.Or(r.Accelerator, "unknown")},
		[]string{"gVisor", worksInGVisor(r)},
		[]string{"networking", r.Networking.Detail},
		[]string{"cache", fmt.Sprintf("%s: %s used, %s free", r.EnvironmentCache.Path,
			size(r.EnvironmentCache.Bytes), size(r.EnvironmentCache.FreeBytes))},
		[]string{"state", fmt.Sprintf("%s: %s used, %s free", r.EnvironmentCache.StatePath,
			size(r.EnvironmentCache.StateBytes), size(r.EnvironmentCache.StateFreeBytes))},
		[]string{"installed", strings.Join(r.EnvironmentCache.Installed, " ")})
	showFindings(w, "VMM", r.Capabilities.VMMConfinement)
	showFindings(w, "host_compat", r.Capabilities.HostCompat)
	fmt.Fprintf(w, "\nvm_boot=%s guest_exec=%s\n", r.Capabilities.VMBoot, r.Capabilities.GuestExec)
	for _, issue := range r.Issues {
		kind := "note"
		if issue.Fatal {
			kind = "problem"
		}
		fmt.Fprintf(w, "\n%s: %s\n  what to do: %s\n", kind, issue.Problem, issue.Remedy)
	}
}

// worksInGVisor says whether guests in gVisor can be had.
func worksInGVisor(r doctor.Report) string {
	switch r.Capabilities.GVisor {
	case "yes":
		return "works: --isolation gvisor"
	case "no":
		return "does not work: " + oneLine(r.Capabilities.GVisorDetail)
	}
	return "not tried"
}

// showFindings says of what each thing is confined by.
func showFindings(w io.Writer, of string, findings []doctor.Finding) {
	for _, f := range findings {
		confined := "confined"
		if !f.OK {
			confined = "not confined"
		}
		fmt.Fprintf(w, "%s: %s %s (%s)\n", of, f.Name, confined, f.Detail)
	}
}
