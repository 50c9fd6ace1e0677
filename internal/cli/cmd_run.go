package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

const runLong = `Runs one command in a fresh VM, which is gone afterwards. The words after -- reach the guest as
they are; use sh -c for a shell's command line. Input, output and the exit status are the
command's own.

An environment may be any container image: HOST/NAME[:TAG][@DIGEST], oci:DIR, oci-archive:FILE or
docker-archive:FILE. Its variables, user, working directory and entry point count as with docker
run, and its own command runs if none is given.

` + exitCodes

const runExample = `  pyro run debian:12 -- git --version
  pyro run debian:12 --network --timeout-seconds 120 -- sh -c 'curl -s https://example.org | wc -c'
  pyro run debian:12 --json -- python3 -c 'print(6 * 7)'
  pyro run docker.io/library/python:3.12-slim -- python -c 'print(1)'
  tar c . | pyro run debian:12 -- tar t
  pyro run debian:12-build --source-path . --output report.xml=out/ -- make test
  pyro run -it debian:12 -- bash`

func newRun(a *app) *cobra.Command {
	var shape shapeFlags
	var timeout *duration
	var entrypoint string
	var keepWarm duration
	var tty terminalFlags
	var settings settingsFlags
	var seed seedFlags
	var outputs []string
	cmd := &cobra.Command{
		Use:               "run ENVIRONMENT [-- COMMAND [ARGUMENT...]]",
		Short:             "Run one command in a fresh VM, which is gone afterwards",
		Long:              runLong,
		Example:           runExample,
		Args:              nameAndMaybeCommand("ENVIRONMENT"),
		ValidArgsFunction: a.completeEnvironment(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			line, restore := a.commandLine(cmd.Context(), args[1:], timeout, &tty)
			defer restore()
			if err := settings.apply(&line); err != nil {
				return err
			}
			source, err := seed.path()
			if err != nil {
				return err
			}
			request := pyro.RunInVMRequest{
				Shape:          shape.shape(args[0]),
				CommandLine:    line,
				SourcePath:     source,
				Strict:         seed.strict,
				Exclude:        seed.exclude,
				IncludeIgnored: seed.includeIgnored,
				Outputs:        outputs,
			}
			if cmd.Flags().Changed("keep-warm") {
				request.KeepWarm = &keepWarm.value
			}
			if cmd.Flags().Changed("entrypoint") {
				request.Entrypoint = &entrypoint
			}
			begun := time.Now()
			result, err := with(a, func(p *pyro.Pyro) (pyro.RunInVMResult, error) {
				return withEnvironment(a, func(show func(pyro.PullProgress)) (pyro.RunInVMResult, error) {
					request.Progress = show
					result, err := p.RunInVM(cmd.Context(), request)
					a.suggest(p.Options().CacheDir, result, time.Since(begun))
					return result, err
				})
			})
			if errors.Is(err, pyro.ErrNoCommand) {
				return usagef("%s: the command is missing: put it after --", cmd.CommandPath())
			}
			restore()
			a.confined(result.Confinement)
			a.warn(result.Warnings)
			if result.WorkspaceSeed != nil {
				a.seeded(*result.WorkspaceSeed)
			}
			return a.ended(result, result.Output, err)
		},
	}
	shape.add(cmd)
	cmd.Flags().StringVar(&entrypoint, "entrypoint", "",
		"`PROGRAM` to run in place of the image's entry point; empty for none")
	seed.add(cmd)
	cmd.Flags().StringArrayVar(&outputs, "output", nil,
		"copy `PATH=HOST_PATH` out of the guest when the command has ended, whatever its exit status "+
			"(repeatable)")
	cmd.Flags().Var(&keepWarm, "keep-warm",
		"seconds, or 10m, 2h, for which one more VM like this one waits, started, for the next run "+
			"($PYRO_KEEP_WARM, else 0: none)")
	timeout = timeoutFlag(cmd)
	tty.add(cmd)
	settings.addCommand(cmd)
	granted(cmd, "rm", "")
	runsCommand(cmd)
	a.jsonFlag(cmd)
	return cmd
}

// commandLine is the command after --, with our streams as its own unless the result is to hold them. What
// it did to our terminal is undone by restore, which may be called again.
func (a *app) commandLine(
	ctx context.Context, argv []string, timeout *duration, tty *terminalFlags,
) (line pyro.CommandLine, restore func()) {
	line = pyro.CommandLine{Argv: argv, Streams: pyro.Streams{Stdin: a.input(),
		LazyStdin: !tty.terminal && !tty.input}}
	if seconds := timeout.value; !tty.terminal || tty.timed() {
		line.TimeoutSeconds = &seconds
	}
	if !a.json {
		line.Streams.Stdout, line.Streams.Stderr = a.stdout, a.stderr
	}
	if tty.terminal {
		return line, a.enterTerminal(ctx, &line)
	}
	a.remarkShell(argv)
	return line, func() {}
}

// slowRun is how long an emulated run takes of which somebody asks why.
const slowRun = 5 * time.Second

// suggest tells once, under a slow run, of the isolation that is faster on a host without KVM.
func (a *app) suggest(dir string, result pyro.RunInVMResult, took time.Duration) {
	if result.Isolation != "vm" || result.Accelerator != "tcg" || took < slowRun || a.quiet || a.json {
		return
	}
	if _, err := gvisorDriver().Path(); err != nil {
		return
	}
	told, err := os.OpenFile(filepath.Join(dir, "told-isolation"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return // It was told already, or there is nowhere to note that.
	}
	told.Close()
	a.remark("pyro: guests are emulated here, without KVM; --isolation gvisor computes at nearly the " +
		"speed of this host (docs/isolation.md says what it isolates)")
}

// confined says once that the host stood in for a guest, and how far it was confined.
func (a *app) confined(report string) {
	if report != "" {
		fmt.Fprintln(a.stderr, "pyro: no guest could be had, the command ran on this host (host_compat); "+
			oneLine(report))
	}
}

// warn passes on what the host may not be able to keep.
func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		a.remark("%s", oneLine(w))
	}
}

// ended passes on how a command ended: its exit status becomes pyro's.
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
