package agent

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sever ends all connections over the network, as a reset by their peers would: their other ends are with
// the machine that this one was. Programs read ECONNRESET. What listens, and what connects a guest with
// itself, stays.
func sever() error {
	gone := map[string]bool{}
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		addOutside(gone, f)
		f.Close()
	}
	if len(gone) == 0 {
		return nil
	}
	open, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return err
	}
	for _, path := range open {
		target, err := os.Readlink(path)
		if err != nil || !gone[target] {
			continue
		}
		delete(gone, target) // The others who have it open share it.
		parts := strings.Split(path, "/")
		pid, _ := strconv.Atoi(parts[2])
		fd, _ := strconv.Atoi(parts[4])
		err = disconnect(pid, fd)
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EBADF) {
			return fmt.Errorf("cannot end a connection of process %d: %w", pid, err)
		}
	}
	return nil
}

// disconnect takes a socket of another process's out of its connection.
func disconnect(pid, fd int) error {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(process)
	socket, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	var nobody unix.RawSockaddrAny // of no family
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(socket), uintptr(unsafe.Pointer(&nobody)),
		unix.SizeofSockaddrAny)
	if errno != 0 {
		return errno
	}
	return nil
}

// addOutside adds the sockets of a table of the kernel's (see proc(5)) that are connected with another
// machine, by the names that they have among open files.
func addOutside(sockets map[string]bool, table io.Reader) {
	const listening, timeWait, closed = "0A", "06", "07"
	for lines := bufio.NewScanner(table); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[3] == listening || f[3] == timeWait || f[3] == closed {
			continue
		}
		if peer, ok := parsePeer(f[2]); ok && !peer.IsLoopback() && !peer.IsUnspecified() {
			sockets["socket:["+f[9]+"]"] = true
		}
	}
}

// parsePeer reads an address as the kernel prints it: words of 32 bits, each in the machine's order of bytes.
func parsePeer(text string) (netip.Addr, bool) {
	text, _, _ = strings.Cut(text, ":")
	b, err := hex.DecodeString(text)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	addr, ok := netip.AddrFromSlice(b)
	return addr.Unmap(), ok
}
