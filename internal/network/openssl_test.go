package network

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// opensslServer runs OpenSSL's server: a certificate for good.example.org, another one for evil.example.org,
// and one group of keys alone, so that it asks most clients to say hello again.
func opensslServer(t *testing.T) netip.AddrPort {
	dir := t.TempDir()
	for _, name := range []string{"good", "evil"} {
		file := filepath.Join(dir, name)
		out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
			"ec_paramgen_curve:P-256", "-nodes", "-days", "2",
			"-subj", "/CN="+name+".example.org", "-keyout", file+".key", "-out", file+".crt").CombinedOutput()
		if err != nil {
			t.Fatalf("the openssl command is needed: %v %s", err, out)
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	good, evil := filepath.Join(dir, "good"), filepath.Join(dir, "evil")
	server := exec.Command("openssl", "s_server", "-accept", address.String(), "-groups", "P-256", "-www",
		"-cert", good+".crt", "-key", good+".key", "-servername", "evil.example.org", "-cert2", evil+".crt",
		"-key2", evil+".key")
	server.Stderr = t.Output()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	eventually(t, "OpenSSL listens", func() bool {
		conn, err := net.Dial("tcp", address.String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}

// retry lets OpenSSL's client ask for one name and then for another, over a connection, and tells what it
// got.
func retry(t *testing.T, conn net.Conn, name, other string) string {
	client := exec.Command("python3", "testdata/retry.py", name, other)
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	client.Stdout, client.Stderr = conn, &said
	if err := client.Start(); err != nil {
		t.Fatal("python3 is needed: ", err)
	}
	go func() {
		io.Copy(in, conn)
		in.Close()
	}()
	err = client.Wait()
	conn.Close()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		t.Logf("the client: %v", err)
	}
	return strings.TrimSpace(said.String())
}

// TestHelloRetry has a real client ask for a listed name first and, when a real server lets it say hello
// again, for another one. Without us in between the server gives it what it asked for last.
func TestHelloRetry(t *testing.T) {
	server := opensslServer(t)
	const good, evil = "good.example.org", "evil.example.org"
	direct, err := net.Dial("tcp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	if got := retry(t, direct, good, evil); got != "/CN="+evil {
		t.Fatalf("OpenSSL itself does not do what this is about: %q", got)
	}
	for _, port := range []uint16{443, 8443} {
		w := newWorld(t)
		w.ports[port] = server
		w.set(good, shared)
		g := newGuest(t, w.config(good))
		g.lookup(good)
		address := netip.AddrPortFrom(netip.MustParseAddr(shared), port).String()
		if got := retry(t, g.mustDial(address), good, good); got != "/CN="+good {
			t.Errorf("port %d: a second hello for the same name got %q", port, got)
		}
		if got := retry(t, g.mustDial(address), good, evil); got != "connection ended" &&
			got != "handshake failed" {
			t.Errorf("port %d: a second hello for another name got %q", port, got)
		}
		last := w.decisions()[len(w.decisions())-1]
		if last.Allowed || last.Name != evil {
			t.Errorf("port %d: the last decision is %+v", port, last)
		}
	}
}
