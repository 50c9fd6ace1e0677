package agent

import (
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestAddOutside finds the connections with other machines in the kernel's tables.
func TestAddOutside(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0 0 10 0
   1: 0F02000A:9C40 0202000A:0050 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0 20 4 30 10 -1
   2: 0100007F:9C41 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 103 1 0 20 4 30 10 -1
   3: 0F02000A:9C42 0202000A:0050 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1
   4: 00000000000000000000000001000000:9C40 00000000000000000000000001000000:0050 01 0:0 00:0 0 0 0 104 1
   5: 0000000000000000FFFF00000F02000A:9C40 0000000000000000FFFF00000202000A:0050 01 0:0 00:0 0 0 0 105 1
`
	got := map[string]bool{}
	addOutside(got, strings.NewReader(table))
	if want := []string{"socket:[102]", "socket:[105]"}; !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
		t.Errorf("got %q, want %q", slices.Sorted(maps.Keys(got)), want)
	}
}

// TestDisconnect has somebody who waits for data read a reset.
func TestDisconnect(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = disconnect(os.Getpid(), int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the reader gets %v", err)
	}
}
