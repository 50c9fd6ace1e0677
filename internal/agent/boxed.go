package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// bootBoxed brings up a guest whose kernel is a program of the host's: it has mounted the base image and
// opened the link, and there are no devices.
func bootBoxed(args []string) (*Agent, io.ReadWriteCloser, error) {
	port, err := inherited(link.BoxedLink, "link")
	if err != nil {
		return nil, nil, err
	}
	disk, upper, err := mountBoxedRoot(args)
	if err != nil {
		return nil, nil, err
	}
	made, err := mountWorkspace()
	if err != nil {
		return nil, nil, err
	}
	if err := enterRoot(); err != nil {
		return nil, nil, err
	}
	g := &realMachine{boxed: true}
	if slices.Contains(args, link.CmdlineNetwork) {
		frames, err := inherited(link.BoxedNetwork, "network")
		if err != nil {
			return nil, nil, err
		}
		t := &tap{frames: frames}
		g.network = t.configure
	}
	a, groups, err := newAgent(g, upper, made, int64(number(args, link.CmdlineMemory))<<20)
	if err != nil {
		return nil, nil, err
	}
	a.keeper = &keeper{root: disk}
	a.powerOff = func() { os.Exit(0) }
	raiseLimits()
	go groups.watch()
	return a, port, nil
}

// inherited gives a file that the first process was started with.
func inherited(fd int, name string) (*os.File, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("the host has not handed over the %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// mountBoxedRoot lays memory over the base image, as much as the host says, with what the host has kept of
// it. It gives the disk that this is, and the part of it in which files stand in their places.
func mountBoxedRoot(args []string) (disk, upper *os.Root, err error) {
	options := fmt.Sprintf("mode=0755,size=%dm", number(args, link.CmdlineDiskSize))
	if err := mountAll([]mount{{"tmpfs", scratchDir, "tmpfs", 0, options}}); err != nil {
		return nil, nil, err
	}
	if disk, err = os.OpenRoot(scratchDir); err != nil {
		return nil, nil, err
	}
	if slices.Contains(args, link.CmdlineKept) {
		// A file that is no pipe: it is read as it is.
		kept := os.NewFile(link.BoxedKept, "kept")
		if err := errors.Join(restore(disk, bufio.NewReaderSize(kept, 1<<20)), kept.Close()); err != nil {
			return nil, nil, err
		}
	}
	upper, err = mountOverlay("")
	return disk, upper, err
}

// number finds an argument that has a name and then a number, 0 if there is none.
func number(args []string, name string) int {
	for _, arg := range args {
		if text, ok := strings.CutPrefix(arg, name); ok {
			n, _ := strconv.Atoi(text)
			return n
		}
	}
	return 0
}
