// Package cli is the command line: each command parses, calls and prints. It wires the other faces to their
// commands, and enters the hidden supervisor.
package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/hostcompat"
	"github.com/pyro-mcp/pyro/internal/supervisor"
	"github.com/pyro-mcp/pyro/internal/vmm/qemu"
	"github.com/spf13/cobra"
)

// app is what the commands of one run of the program share.
type app struct {
	version        string
	stdin          io.Reader
	stdout, stderr io.Writer
	json, quiet    bool
	accelerator    string
}

// Main runs the program with args and returns its exit status. The version is the release's, or "".
func Main(version string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == supervisor.Command {
		return supervise(args[1:])
	}
	if len(args) > 0 && args[0] == hostcompat.Subcommand {
		return hostcompat.Main(args[1:])
	}
	if len(args) > 0 && args[0] == qemu.Subcommand {
		return qemu.Main(args[1:])
	}
	a := &app{
		version: completeVersion(version),
		stdin:   stdin,
		stdout:  stdout,
		stderr:  stderr,
	}
	ctx, stop := withSignals(context.Background())
	defer stop()
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	called, err := root.ExecuteContextC(ctx)
	if called == root || called.Parent() == nil {
		called = root
	}
	a.json = a.json || wantsJSON(args)
	return a.report(ctx, called, err)
}

// NewCommand gives the tree of commands, for documentation and for tests of its names.
func NewCommand(version string) *cobra.Command {
	return newRoot(&app{
		version: completeVersion(version),
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
	})
}

// engine opens the engine with the options that all commands share.
func (a *app) engine(options ...pyro.Option) (*pyro.Pyro, error) {
	if a.accelerator != "" {
		options = append(options, pyro.WithAccelerator(a.accelerator))
	}
	if level := os.Getenv("PYRO_LOG"); level != "" {
		var l slog.Level
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, usagef("PYRO_LOG=%q is none of debug, info, warn, error", level)
		}
		options = append(options, pyro.WithLogger(slog.New(slog.NewTextHandler(a.stderr,
			&slog.HandlerOptions{Level: l}))))
	}
	return pyro.New(options...)
}

// with opens the engine for one operation.
func with[T any](a *app, do func(*pyro.Pyro) (T, error)) (T, error) {
	p, err := a.engine()
	if err != nil {
		var none T
		return none, err
	}
	defer p.Close()
	return do(p)
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return "stopped by " + i.signal.String() }

// Signal is what a command in a guest is sent for it.
func (i interrupted) Signal() syscall.Signal { return i.signal }

// oneWish is how long signals count as one: timeout(1) signals a process and then its whole group, and so
// reaches a process twice.
const oneWish = 250 * time.Millisecond

// withSignals ends the context at the first SIGINT, SIGTERM or SIGHUP, unless the last is ignored (nohup).
// A later one ends the program at once: what runs in a VM then ends with its supervisor, which sees us gone.
func withSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			cancel(interrupted{s.(syscall.Signal)})
			select {
			case <-time.After(oneWish):
				signal.Stop(signals)
			case <-done:
			}
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// wantsJSON says whether the arguments ask for JSON, for errors found before the flags were read.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// completeVersion falls back on what the Go toolchain recorded.
func completeVersion(version string) string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.0.0-dev"
}
