package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// oldest is the first release with -netdev stream.
const oldest = "7.2"

// versionTimeout bounds the asking.
const versionTimeout = 10 * time.Second

// program is QEMU's executable, as it is now: another file at its path is another program.
type program struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"mod_time_ns"`
}

// find looks for the executable and for what identifies it.
func find(binary string) (program, error) {
	path, err := exec.LookPath(binary)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return program{}, fmt.Errorf("cannot run %s: %w", binary, err)
		}
		return program{}, missing(filepath.Base(binary))
	}
	if path, err = filepath.Abs(path); err != nil {
		return program{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return program{}, fmt.Errorf("cannot run %s: %w", binary, err)
	}
	return program{Path: path, Size: info.Size(), ModTime: info.ModTime().UnixNano()}, nil
}

// abilities is what one QEMU can and another cannot. Distributions carry changes back, so that a version says
// little about it: QEMU itself is asked.
type abilities struct {
	// ReadOnlyMemory is that memory of the guest's own can come from a file that is opened for reading alone.
	ReadOnlyMemory bool `json:"read_only_memory"`
}

// askAbilities runs the program to learn what it can.
func askAbilities(ctx context.Context, p program) (abilities, error) {
	out, err := ask(ctx, p, "-object", "memory-backend-file,help")
	if err != nil {
		return abilities{}, fmt.Errorf("cannot ask %s what it can: %w", p.Path, err)
	}
	return parseAbilities(out), nil
}

// parseAbilities reads the list of the properties of memory in a file, one a line.
func parseAbilities(out string) abilities {
	var a abilities
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		a.ReadOnlyMemory = a.ReadOnlyMemory || name == "rom"
	}
	return a
}

// ask runs the program and returns what it prints.
func ask(ctx context.Context, p program, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, arguments...)
	cmd.Env = []string{}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	return string(out), err
}

// askVersion runs the program to learn its version.
func askVersion(ctx context.Context, p program) (string, error) {
	out, err := ask(ctx, p, "--version")
	if err != nil {
		return "", fmt.Errorf("cannot ask %s for its version: %w", p.Path, err)
	}
	version, err := parseVersion(out)
	if err != nil {
		return "", fmt.Errorf("cannot tell the version of %s: %w", p.Path, err)
	}
	if older(version, oldest) {
		return "", hinted{
			fmt.Errorf("%s is version %s, which is %w: %s is needed", p.Path, version, vmm.ErrTooOld, oldest),
			"install QEMU " + oldest + " or newer; Debian has it since release 12, Ubuntu since 23.04",
		}
	}
	return version, nil
}

// parseVersion reads the first line of what --version prints, without the distribution's own suffix.
func parseVersion(out string) (string, error) {
	line, _, _ := strings.Cut(out, "\n")
	_, rest, found := strings.Cut(line, "version ")
	version, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if !found || len(version) > 40 || older(version, "0.0.1") {
		return "", fmt.Errorf("unexpected answer %q", line[:min(len(line), 80)])
	}
	return version, nil
}

// older compares dotted numbers. What is no number counts as 0.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		if m, n := number(x, i), number(y, i); m != n {
			return m < n
		}
	}
	return false
}

func number(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.Atoi(parts[i]) // 0 if it fails
	return n
}
