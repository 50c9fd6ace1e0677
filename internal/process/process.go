// Package process holds the rules of running one command that are the same in a guest and on the host: how it is found,
// what its end means as an exit status, how its output is read, and how all that it started is ended.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Exit statuses that are ours rather than the command's.
const (
	ExitTimeout    = 124
	ExitNotRunning = 126 // it is there but cannot be run
	ExitNotFound   = 127
)

// Shell is the argument vector for a shell command line.
func Shell(command string) []string { return []string{"/bin/sh", "-lc", command} }

// Find looks a command up as a shell would, in the PATH of the environment that the command gets; dir is where it
// will run. A name with a slash is returned as it is.
func Find(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, each := range env {
		if value, ok := strings.CutPrefix(each, "PATH="); ok {
			path = value
		}
	}
	result := error(exec.ErrNotFound)
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(dir, folder)
		}
		candidate := filepath.Join(folder, name)
		info, err := os.Stat(candidate)
		if err != nil || info.IsDir() {
			continue
		}
		if info.Mode()&0o111 != 0 {
			return candidate, nil
		}
		result = syscall.EACCES
	}
	return "", result
}

// Failure says, in the words of a line for the command's stderr, why it could not be started, and gives the exit status that
// a shell would.
func Failure(name string, err error) (code int, message string) {
	code = ExitNotRunning
	switch {
	case errors.Is(err, exec.ErrNotFound):
		code, err = ExitNotFound, errors.New("not found in PATH")
	case errors.Is(err, os.ErrNotExist):
		code = ExitNotFound
	}
	return code, fmt.Sprintf("pyro: cannot run %q: %v\n", name, err)
}

// ExitCode is the exit status that a shell gives for the end of a process: its own, or 128 and the number of the
// signal that ended it.
func ExitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// Environment lays variables over each other: of each name the last counts, in the place where it first stood.
func Environment(layers ...[]string) []string {
	var merged []string
	at := map[string]int{}
	for _, layer := range layers {
		for _, each := range layer {
			name, _, ok := strings.Cut(each, "=")
			if !ok || name == "" {
				continue
			}
			if i, seen := at[name]; seen {
				merged[i] = each
				continue
			}
			at[name] = len(merged)
			merged = append(merged, each)
		}
	}
	return merged
}
