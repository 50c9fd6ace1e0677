// Package demo shows what pyro does, by doing it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
)

// Options says what to show, and where.
type Options struct {
	Environment string // empty is debian:12
	Out         io.Writer
	Progress    func(pyro.PullProgress) // of a pull that comes first; may be nil
}

// show is one run of the demo.
type show struct {
	p   *pyro.Pyro
	o   Options
	vm  string
	id  string // of the task
	dir string // that the task is seeded from
}

// Run goes through a VM's life and a task's, a line for each step. It fails if a step does, and leaves
// nothing behind either way.
func Run(ctx context.Context, p *pyro.Pyro, o Options) (err error) {
	if o.Environment == "" {
		o.Environment = "debian:12"
	}
	s := &show{p: p, o: o}
	defer func() { err = errors.Join(err, s.clean()) }()
	begun := time.Now()
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"create a VM", s.createVM},
		{"start it", s.startVM},
		{"ask for its status", s.statusVM},
		{"run git --version in it", s.execVM},
		{"see that it is gone", s.goneVM},
		{"create a task, seeded from a directory", s.createTask},
		{"change a file in it", s.command("echo 'changed in the guest' >> notes.txt && wc -l notes.txt")},
		{"read it with the next command", s.command("cat notes.txt")},
		{"read its logs", s.logs},
		{"delete it", s.deleteTask},
	} {
		at := time.Now()
		said, err := step.do(ctx)
		if err != nil {
			return fmt.Errorf("cannot %s: %w", step.name, err)
		}
		fmt.Fprintf(o.Out, "%-40s %6d ms  %s\n", step.name, time.Since(at).Milliseconds(), said)
	}
	fmt.Fprintf(o.Out, "\nall of it took %.1f s. What to try next:\n", time.Since(begun).Seconds())
	fmt.Fprintf(o.Out, "  pyro run %s -- python3 -c 'print(6 * 7)'\n"+
		"  pyro task create %[1]s --source-path .\n  pyro mcp config claude-code\n", o.Environment)
	return nil
}

func (s *show) createVM(ctx context.Context) (string, error) {
	vm, err := s.p.CreateVM(ctx, pyro.CreateVMRequest{Shape: pyro.Shape{Environment: s.o.Environment,
		Progress: s.o.Progress}})
	s.vm = vm.VMID
	return vm.VMID, err
}

func (s *show) startVM(ctx context.Context) (string, error) {
	vm, err := s.p.StartVM(ctx, pyro.VMRequest{VMID: s.vm})
	return fmt.Sprintf("%s (%s)", vm.ExecutionMode, vm.Accelerator), err
}

func (s *show) statusVM(ctx context.Context) (string, error) {
	vm, err := s.p.StatusVM(ctx, pyro.VMRequest{VMID: s.vm})
	return vm.State, err
}

func (s *show) execVM(ctx context.Context) (string, error) {
	result, err := s.p.ExecVM(ctx, pyro.ExecVMRequest{VMID: s.vm,
		CommandLine: pyro.CommandLine{Command: "git --version"}})
	return told(result.Output, err)
}

func (s *show) goneVM(ctx context.Context) (string, error) {
	_, err := s.p.StatusVM(ctx, pyro.VMRequest{VMID: s.vm})
	if !errors.Is(err, pyro.ErrNotFound) {
		return "", fmt.Errorf("VM %q is still there: %w", s.vm, errors.Join(err, s.clean()))
	}
	s.vm = ""
	return "", nil
}

func (s *show) createTask(ctx context.Context) (string, error) {
	var err error
	if s.dir, err = os.MkdirTemp("", "pyro-demo-"); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "notes.txt"), []byte("written on the host\n"),
		0o644); err != nil {
		return "", err
	}
	task, err := s.p.CreateTask(ctx, pyro.CreateTaskRequest{Shape: pyro.Shape{Environment: s.o.Environment},
		SourcePath: s.dir})
	s.id = task.TaskID
	return fmt.Sprintf("%s, %d bytes", task.TaskID, task.WorkspaceSeed.BytesWritten), err
}

func (s *show) command(line string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		result, err := s.p.ExecTask(ctx, pyro.ExecTaskRequest{TaskID: s.id,
			CommandLine: pyro.CommandLine{Command: line}})
		return told(result.Output, err)
	}
}

func (s *show) logs(ctx context.Context) (string, error) {
	logs, err := s.p.LogsTask(ctx, pyro.LogsTaskRequest{TaskID: s.id})
	if err == nil && logs.Count != 2 {
		err = fmt.Errorf("the history has %d commands, not 2", logs.Count)
	}
	return fmt.Sprintf("%d commands", logs.Count), err
}

func (s *show) deleteTask(ctx context.Context) (string, error) {
	result, err := s.p.DeleteTask(ctx, pyro.TaskRequest{TaskID: s.id})
	if err == nil && result.Deleted {
		s.id = ""
	}
	return "", err
}

// told is what a command said, on one line.
func told(o pyro.Output, err error) (string, error) {
	if err == nil && o.ExitCode != 0 {
		err = fmt.Errorf("the command ended with %d: %s%s", o.ExitCode, o.Stderr, o.Notice)
	}
	return strings.ReplaceAll(strings.TrimSpace(o.Stdout), "\n", " / "), err
}

// clean removes what a demo that was cut short has made.
func (s *show) clean() error {
	ctx := context.Background()
	var failed []error
	if s.vm != "" {
		_, err := s.p.DeleteVM(ctx, pyro.VMRequest{VMID: s.vm})
		failed = append(failed, unlessGone(err))
		s.vm = ""
	}
	if s.id != "" {
		_, err := s.p.DeleteTask(ctx, pyro.TaskRequest{TaskID: s.id})
		failed = append(failed, unlessGone(err))
		s.id = ""
	}
	if s.dir != "" {
		failed = append(failed, os.RemoveAll(s.dir))
	}
	return errors.Join(failed...)
}

func unlessGone(err error) error {
	if errors.Is(err, pyro.ErrNotFound) {
		return nil
	}
	return err
}
