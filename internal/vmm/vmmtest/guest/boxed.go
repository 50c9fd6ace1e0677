package main

import (
	"encoding/binary"
	"os"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// serveBoxed answers in a guest that has no devices: the driver has opened the link and what else it got.
func serveBoxed() error {
	return answer(os.NewFile(link.BoxedLink, "link"), uptime(), doBoxed)
}

// doBoxed is do for such a guest. Its base is mounted, and its scratch disk is what was kept of one.
func doBoxed(word, rest string) (string, error) {
	switch word {
	case "read":
		path := "/base/base"
		if rest == "scratch" {
			path = "/proc/self/fd/5"
		}
		return readLine(path)
	case "write":
		id, words, _ := strings.Cut(rest, " ")
		if id == "scratch" {
			_, err := unix.Pwrite(link.BoxedKept, []byte(words), 0)
			return "written", err
		}
		return "written", os.WriteFile("/base/"+id, []byte(words), 0o600)
	case "nics":
		if _, err := unix.FcntlInt(link.BoxedNetwork, unix.F_GETFD, 0); err != nil {
			return "0", nil
		}
		return "1", nil
	case "up":
		return "up", sendFrame()
	case "panic":
		return "", exit(1)
	case "reboot":
		return "", exit(0)
	}
	return do(word, rest)
}

// sendFrame sends a frame of no kind to everybody.
func sendFrame() error {
	frame := make([]byte, 60)
	copy(frame, "\xff\xff\xff\xff\xff\xff\x52\x54\x00\x12\x34\x56\x88\xb5")
	message := append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
	_, err := unix.Write(link.BoxedNetwork, message)
	return err
}

// exit ends the first process, and so the guest.
func exit(status int) error {
	if status != 0 {
		os.Stderr.WriteString("the guest's last words\n")
	}
	os.Exit(status)
	return nil
}
