package pyro_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/pyro-mcp/pyro"
)

// One command in a VM of its own.
func Example() {
	p, err := pyro.New()
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	result, err := p.RunInVM(context.Background(), pyro.RunInVMRequest{
		Shape:       pyro.Shape{Environment: "debian:12"},
		CommandLine: pyro.CommandLine{Command: "git --version"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.ExitCode, result.Stdout)
}

// A task keeps its workspace between commands.
func ExamplePyro_CreateTask() {
	ctx := context.Background()
	p, err := pyro.New(pyro.WithMaxActiveVMs(8))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	task, err := p.CreateTask(ctx, pyro.CreateTaskRequest{
		Shape:      pyro.Shape{Environment: "debian:12", TTLSeconds: new(3600)},
		SourcePath: "./project",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.DeleteTask(ctx, pyro.TaskRequest{TaskID: task.TaskID})
	for _, line := range []string{"make", "make test"} {
		result, err := p.ExecTask(ctx, pyro.ExecTaskRequest{TaskID: task.TaskID,
			CommandLine: pyro.CommandLine{Command: line, TimeoutSeconds: new(300)}})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.Sequence, result.ExitCode)
	}
}

// Output can be had while the command runs.
func ExampleStreams() {
	p, err := pyro.New()
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	_, err = p.RunInVM(context.Background(), pyro.RunInVMRequest{
		Shape: pyro.Shape{Environment: "debian:12"},
		CommandLine: pyro.CommandLine{Argv: []string{"tar", "t"},
			Streams: pyro.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}},
	})
	if err != nil {
		log.Fatal(err)
	}
}

// Errors have kinds, and a command's own failure is none of them.
func ExampleError() {
	p, err := pyro.New()
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	result, err := p.RunInVM(context.Background(), pyro.RunInVMRequest{
		Shape:       pyro.Shape{Environment: "debian:12"},
		CommandLine: pyro.CommandLine{Command: "exit 3"},
	})
	switch {
	case errors.Is(err, pyro.ErrLimitReached), errors.Is(err, pyro.ErrGuestUnavailable):
		fmt.Println(err, pyro.ErrorHint(err))
	case err != nil:
		log.Fatal(err)
	case errors.Is(result.Err(), pyro.ErrTimeout):
		fmt.Println("too slow")
	default:
		fmt.Println(result.Err())
	}
}
