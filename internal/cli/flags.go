package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shapeFlags are the flags of everything that makes a VM.
type shapeFlags struct {
	vcpus               number
	memory, disk        mebibytes
	ttl, wait           duration
	network, hostCompat bool
	hostCA              bool
	allow               []string
	allowHost           []int
	caFile              string
	cmd                 *cobra.Command
	isolation           string
}

func (s *shapeFlags) add(cmd *cobra.Command) {
	s.vcpus = number{pyro.DefaultVCPUCount, 1}
	s.memory, s.disk = mebibytes{pyro.DefaultMemMiB, 1}, mebibytes{pyro.DefaultDiskMiB, 1}
	s.ttl, s.wait = duration{pyro.DefaultTTLSeconds, 0}, duration{pyro.DefaultWaitSeconds, 0}
	flags := cmd.Flags()
	flags.Var(&s.vcpus, "vcpu-count", "virtual CPUs")
	flags.VarP(&s.memory, "mem-mib", "m", "memory in MiB, or with a unit: 512m, 2g")
	containerFlag(cmd, &s.vcpus, "cpus", "vcpu-count")
	containerFlag(cmd, &s.memory, "memory", "mem-mib")
	flags.Var(&s.ttl, "ttl-seconds",
		"seconds without a command after which it is removed, or 10m, 2h; 0 is no limit")
	flags.Var(&s.wait, "wait-seconds",
		"seconds to wait for a place while as many VMs and tasks live as may, or 10m, 2h; 0 fails at once")
	flags.Var(&s.disk, "disk-mib", "size of the writable disk in MiB, or with a unit; it is sparse")
	flags.BoolVar(&s.network, "network", false, "give the guest a network")
	flags.StringArrayVar(&s.allow, "allow", nil,
		"let the network reach only `HOST[:PORT]`: a name, *.domain, an address or a CIDR; implies "+
			"--network; /tcp or /udp behind a name's port lets any protocol pass (repeatable)")
	flags.IntSliceVar(&s.allowHost, "allow-host", nil,
		"open this `PORT` of the host's own 127.0.0.1 to the guest, at host.pyro.internal (repeatable)")
	flags.StringVar(&s.caFile, "ca-file", "",
		"`FILE` with certificates of authorities, in PEM, that programs in the guest trust as well")
	flags.BoolVar(&s.hostCA, "host-ca", false, "have programs in the guest trust the authorities that were "+
		"added to the host's (default: if it has a network that leads outwards; =false is not to)")
	s.cmd = cmd
	flags.Var(&choice{&s.isolation, pyro.IsolationChoices()}, "isolation",
		"what stands between guest and host: vm is a virtual machine, gvisor a kernel in user space, "+
			"much faster if the host has no KVM ($PYRO_ISOLATION, else vm)")
	flags.BoolVar(&s.hostCompat, "allow-host-compat", false,
		"if no guest can be had, run on the host, confined")
}

func (s *shapeFlags) shape(environment string) pyro.Shape {
	ttl, wait := s.ttl.value, s.wait.value
	out := pyro.Shape{
		Environment:     environment,
		VCPUCount:       s.vcpus.value,
		MemMiB:          s.memory.value,
		TTLSeconds:      &ttl,
		WaitSeconds:     &wait,
		DiskMiB:         s.disk.value,
		Network:         s.network || len(s.allow) > 0,
		Allow:           s.allow,
		Isolation:       s.isolation,
		AllowHostCompat: s.hostCompat,
		AllowHost:       s.allowHost,
		CAFile:          s.caFile,
	}
	if s.cmd.Flags().Changed("host-ca") {
		out.HostCA = &s.hostCA
	}
	return out
}

func timeoutFlag(cmd *cobra.Command) *duration {
	d := &duration{pyro.DefaultTimeoutSeconds, 0}
	cmd.Flags().Var(d, "timeout-seconds",
		"seconds after which the command and all that it started is ended, or 10m, 2h; 0 is no limit")
	return d
}

func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print one JSON document on stdout")
}

// number is a flag that takes a whole number with a least value.
type number struct{ value, least int }

func (n *number) String() string { return strconv.Itoa(n.value) }
func (n *number) Type() string   { return "N" }

// Set reads the flag's value.
func (n *number) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < n.least {
		return fmt.Errorf("want a whole number, %d or more", n.least)
	}
	n.value = v
	return nil
}

// choice is a flag that takes one of some words; "" until it is set.
type choice struct {
	value *string
	words []string
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return "NAME" }

// Set reads the flag's value.
func (c *choice) Set(text string) error {
	if !slices.Contains(c.words, text) {
		return fmt.Errorf("want one of %s", strings.Join(c.words, ", "))
	}
	*c.value = text
	return nil
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return names
}

// exactly wants a number of arguments, named as in the command's usage.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s: %s is missing", cmd.CommandPath(), names[len(args)])
		}
		if len(args) > len(names) {
			return usagef("%s: unexpected argument %q", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// oneOrTwo wants an argument of that name, and takes another.
func oneOrTwo(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 2 {
			return nil
		}
		return exactly(name)(cmd, args)
	}
}

// nameAndMaybeCommand is nameAndCommand if the name alone may do.
func nameAndMaybeCommand(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if cmd.ArgsLenAtDash() < 0 && len(args) == 1 {
			return nil
		}
		return nameAndCommand(name)(cmd, args)
	}
}

// namesAndCommand wants NAME... -- CMD...
func namesAndCommand(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch dash := cmd.ArgsLenAtDash(); {
		case dash < 0 && len(args) >= len(names), dash >= 0 && len(args) == dash && dash == len(names):
			return usagef("%s: the command is missing: put it after --", cmd.CommandPath())
		case len(args) < len(names), dash < len(names):
			missing := names[max(0, min(len(args), dash, len(names)-1))]
			return usagef("%s: %s is missing", cmd.CommandPath(), missing)
		case dash > len(names):
			return usagef("%s: unexpected argument %q before --", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// nameAndCommand wants NAME -- CMD..., so that no argument of the command is ever taken for a flag of pyro's.
func nameAndCommand(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		dash := cmd.ArgsLenAtDash()
		switch {
		case len(args) == 0 || dash == 0:
			return usagef("%s: %s is missing", cmd.CommandPath(), name)
		case dash < 0 && len(args) == 1:
			return usagef("%s: the command is missing: put it after --", cmd.CommandPath())
		case dash < 0:
			return &usageError{message: fmt.Sprintf("%s: the command must stand after --", cmd.CommandPath()),
				hint: fmt.Sprintf("write '%s %s -- %s'", cmd.CommandPath(), args[0],
					strings.Join(args[1:], " "))}
		case dash > 1:
			return usagef("%s: unexpected argument %q before --", cmd.CommandPath(), args[1])
		case len(args) == 1:
			return usagef("%s: no command after --", cmd.CommandPath())
		}
		return nil
	}
}
