// Command engine calls the engine itself, for bench/faces.py: a line on standard input is the name of an
// operation, the answer how many milliseconds it took.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pyro-mcp/pyro"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(task string) error {
	p, err := pyro.New()
	if err != nil {
		return err
	}
	defer p.Close()
	ctx := context.Background()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		began := time.Now()
		switch lines.Text() {
		case "exec":
			_, err = p.ExecTask(ctx, pyro.ExecTaskRequest{
				TaskID:      task,
				CommandLine: pyro.CommandLine{Argv: []string{"/bin/true"}},
			})
		case "status":
			_, err = p.StatusTask(ctx, pyro.TaskRequest{TaskID: task})
		}
		if err != nil {
			return err
		}
		fmt.Printf("%.3f\n", float64(time.Since(began).Microseconds())/1000)
	}
	return lines.Err()
}
