package cli

import (
	"errors"
	"fmt"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newRun(a *app) *cobra.Command {
	var shape shapeFlags
	var timeout *number
	var entrypoint string
	cmd := &cobra.Command{
		Use:   "run ENVIRONMENT [-- COMMAND [ARGUMENT...]]",
		Short: "Run one command in a fresh VM, which is gone afterwards",
		Long: `Runs one command in a fresh VM, which is gone afterwards. The words after -- reach the guest as
they are; use sh -c for a shell's command line. Input, output and the exit status are the
command's own.

An environment may be any container image: HOST/NAME[:TAG][@DIGEST], oci:DIR, oci-archive:FILE or
docker-archive:FILE. Its variables, user, working directory and entry point count as with docker
run, and its own command runs where none is given.

` + exitCodes,
		Example: `  pyro run debian:12 -- git --version
  pyro run debian:12 --network --timeout-seconds 120 -- sh -c 'curl -s https://example.org | wc -c'
  pyro run debian:12 --json -- python3 -c 'print(6 * 7)'
  pyro run docker.io/library/python:3.12-slim -- python -c 'print(1)'
  tar c . | pyro run debian:12 -- tar t`,
		Args:              nameAndMaybeCommand("ENVIRONMENT"),
		ValidArgsFunction: a.completeEnvironment(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := pyro.RunInVMRequest{Shape: shape.shape(args[0]),
				CommandLine: a.commandLine(args[1:], timeout)}
			if cmd.Flags().Changed("entrypoint") {
				request.Entrypoint = &entrypoint
			}
			result, err := with(a, func(p *pyro.Pyro) (pyro.RunInVMResult, error) {
				return withEnvironment(a, func(show func(pyro.PullProgress)) (pyro.RunInVMResult, error) {
					request.Progress = show
					return p.RunInVM(cmd.Context(), request)
				})
			})
			if errors.Is(err, pyro.ErrNoCommand) {
				return usagef("%s: the command is missing: put it after --", cmd.CommandPath())
			}
			a.confined(result.Confinement)
			return a.ended(result, result.Output, err)
		},
	}
	shape.add(cmd)
	cmd.Flags().StringVar(&entrypoint, "entrypoint", "",
		"`PROGRAM` to run in place of the image's entry point; empty for none")
	timeout = timeoutFlag(cmd)
	a.jsonFlag(cmd)
	return cmd
}

// commandLine is the command after --, with our streams as its own unless the result is to hold them.
func (a *app) commandLine(argv []string, timeout *number) pyro.CommandLine {
	seconds := timeout.value
	line := pyro.CommandLine{Argv: argv, TimeoutSeconds: &seconds, Streams: pyro.Streams{Stdin: a.stdin}}
	if !a.json {
		line.Streams.Stdout, line.Streams.Stderr = a.stdout, a.stderr
	}
	return line
}

// confined says once that the host stood in for a guest, and how far it was confined.
func (a *app) confined(report string) {
	if report != "" {
		fmt.Fprintln(a.stderr, "pyro: no guest could be had, the command ran on this host (host_compat); "+
			oneLine(report))
	}
}

// ended passes on how a command ended: its exit status becomes ours.
func (a *app) ended(result any, output pyro.Output, err error) error {
	if err != nil {
		return err
	}
	a.notice(output)
	if a.json {
		if err := a.printJSON(result); err != nil {
			return fmt.Errorf("cannot print the result: %w", err)
		}
	}
	if output.ExitCode != 0 {
		return exitStatus(output.ExitCode)
	}
	return nil
}
