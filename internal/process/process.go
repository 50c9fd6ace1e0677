// Package process holds the rules of running one command that are the same in a guest and on the host: how it
// is found, what its end means as an exit status, how its output is read, and how all that it started is
// ended.
package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Exit statuses that are pyro's rather than the command's.
const (
	ExitTimeout    = 124
	ExitNotRunning = 126 // it is there but cannot be run
	ExitNotFound   = 127
)

// LongestLine is how long a command line may be to be an argument: the kernel takes no longer one than 128
// KiB.
const LongestLine = 128<<10 - 1

// Argv is the argument vector that a request stands for: its own, or a shell for its command line, and that
// shell's name.
func Argv(argv []string, commandLine, shellPath string) (full []string, shell string) {
	if commandLine == "" {
		return argv, ""
	}
	return []string{shellPath, "-lc", commandLine}, filepath.Base(shellPath)
}

// Shell is the shell that runs command lines: bash if there is one, which most people and models write,
// else sh.
func Shell() string {
	if info, err := os.Stat("/bin/bash"); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
		return "/bin/bash"
	}
	return "/bin/sh"
}

// Command is what is to be run.
type Command struct {
	Argv []string // at least the name
	Env  []string
	Dir  string
}

// Find resolves the program's name as a shell does, in the PATH of the command's own environment.
func (c Command) Find() (string, error) {
	name := c.Argv[0]
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			return filepath.Join(c.Dir, name), nil
		}
		return name, nil
	}
	var found error = &fs.PathError{Op: "find", Path: name, Err: syscall.ENOENT}
	for _, v := range c.Env {
		list, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(c.Dir, dir)
			}
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			if err != nil || info.IsDir() {
				continue
			}
			if info.Mode()&0o111 != 0 {
				return path, nil
			}
			found = &fs.PathError{Op: "run", Path: path, Err: syscall.EACCES}
		}
	}
	return "", found
}

// Refused tells how a shell would end if starting the command failed with err: the exit status, and a line
// for the command's stderr. It is not ok if the failure is not the command's.
func (c Command) Refused(err error) (code int, line string, ok bool) {
	code, what, why := ExitNotRunning, c.Argv[0], "permission denied"
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		code, why = ExitNotFound, "no such file or directory"
		if len(c.Argv) == 1 && strings.ContainsAny(what, " \n|&;<>") {
			why += "; a line for a shell needs one: sh -c LINE"
		}
		if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
			code, what, why = ExitNotRunning, c.Dir, "no such working directory"
		} else if path, err := c.Find(); err == nil {
			if _, err := os.Stat(path); err == nil {
				why = "its interpreter is missing"
			}
		}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EPERM):
		if info, err := os.Stat(what); err == nil && info.IsDir() {
			why = "it is a directory"
		}
	case errors.Is(err, syscall.ENOEXEC):
		why = "not in a format that can be executed"
	case errors.Is(err, syscall.E2BIG):
		why = "its arguments are too long"
	default:
		return 0, "", false
	}
	return code, fmt.Sprintf("pyro: cannot run %q: %s\n", what, why), true
}

// ExitCode is the exit status that a shell gives for the end of a process: its own, or 128 and the number of
// the signal that ended it.
func ExitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// Environment lays variables over each other: of each name the last counts, in the place where it first
// stood.
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
