package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/doctor"
	"github.com/spf13/cobra"
)

func newDoctor(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Show what this host can do, proven by doing it, and what to fix",
		Long: `Boots a guest and runs a command in it, and reports the platform, QEMU, KVM, the accelerator chosen, caches
and disk space, with a remedy for each problem. The exit status is 1 if pyro run could not work.`,
		Example: "  pyro doctor\n  pyro doctor --json",
		Args:    exactly(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := with(a, func(p *pyro.Pyro) (doctor.Report, error) {
				host, err := doctor.Host(p)
				if err != nil {
					return doctor.Report{}, err
				}
				return doctor.Run(cmd.Context(), host)
			})
			if err != nil {
				return err
			}
			if err := a.print(report, func(w io.Writer) { writeReport(w, report) }); err != nil {
				return err
			}
			if !report.RuntimeOK {
				return exitStatus(exitFailure)
			}
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func writeReport(w io.Writer, r doctor.Report) {
	p, c, e := r.Platform, r.Capabilities, r.EnvironmentCache
	kvm := "not usable"
	if r.KVM.Usable {
		kvm = "usable"
	} else if !r.KVM.Exists {
		kvm = "none"
	}
	if r.KVM.Reason != "" {
		kvm += ": " + oneLine(r.KVM.Reason)
	}
	trial := fmt.Sprintf("vm_boot=%s guest_exec=%s", c.VMBoot, c.GuestExec)
	if c.GuestExec == "yes" {
		trial += fmt.Sprintf(" (%s, %s)", c.Environment, took(c.TrialMS))
	}
	installed := "none"
	if len(e.Installed) > 0 {
		installed = strings.Join(e.Installed, ", ")
	}
	table(w,
		[]string{"platform", fmt.Sprintf("%s, kernel %s, %s, %d CPUs, %d MiB", p.Distribution, p.Kernel, p.Architecture, p.CPUs, p.MemoryMiB)},
		[]string{"VMM", p.VMM},
		[]string{"KVM", kvm},
		[]string{"accelerator", r.Accelerator},
		[]string{"trial", trial},
		[]string{"network", r.Networking.Detail},
		[]string{"cache", fmt.Sprintf("%s: %s, %s free", e.Path, size(e.Bytes), size(e.FreeBytes))},
		[]string{"state", fmt.Sprintf("%s: %s, %s free", e.StatePath, size(e.StateBytes), size(e.StateFreeBytes))},
		[]string{"installed", installed},
	)
	for _, f := range c.HostCompat {
		fmt.Fprintf(w, "host_compat  %s: %s %s\n", f.Name, yesNo(f.OK), oneLine(f.Detail))
	}
	for _, i := range r.Issues {
		kind := "note"
		if i.Fatal {
			kind = "PROBLEM"
		}
		fmt.Fprintf(w, "%s: %s; %s\n", kind, oneLine(i.Problem), oneLine(i.Remedy))
	}
}
