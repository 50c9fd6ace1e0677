package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// insideVariable tells a test that it runs in the namespaces that a world needs.
const insideVariable = "PYRO_TEST_INSIDE"

// inNamespaces runs the calling test again in user, mount and network namespaces of its own, where it may
// make networks and mounts without root, and tells whether this is that run.
func inNamespaces(t *testing.T) bool {
	if os.Getenv(insideVariable) != "" {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC):
		t.Skipf("this host forbids user namespaces, so there can be no network of the test's own: %v", err)
	case err != nil:
		t.Errorf("inside: %v", err)
	}
	return false
}

// world is an internet on a cable: a second network namespace that holds all servers, and a resolver. The
// names are the test's, the addresses those for documentation, which the policy takes for public ones.
type world struct {
	t     *testing.T
	there chan func()
	names map[string]netip.Addr
	other map[string][]dnsmessage.ResourceBody // records that are not addresses
}

// newWorld lays the cable. It must be called inside.
func newWorld(t *testing.T, names map[string]string) *world {
	w := &world{t: t, there: make(chan func()), names: map[string]netip.Addr{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	opened, far := make(chan error), -1
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and so does the namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			far, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()),
				unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		opened <- err
		for do := range w.there {
			do()
		}
	}()
	must(<-opened)
	t.Cleanup(func() { close(w.there) })
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}))
	peer, err := netlink.LinkByName("far")
	must(err)
	must(netlink.LinkSetNsFd(peer, far))
	must(unix.Close(far))
	must(up("lo"))
	must(up("near", "192.0.2.1/24"))
	var addresses []string
	for name, a := range names {
		w.names[name] = netip.MustParseAddr(a)
		addresses = append(addresses, a+"/24")
	}
	// What a policy must refuse is there to be reached, so that only the policy keeps the guest from it.
	w.do(func() error {
		return errors.Join(up("lo"), up("far",
			append(addresses, "192.0.2.53/24", "169.254.169.254/32", "10.1.2.3/32")...))
	})
	near, err := netlink.LinkByName("near")
	must(err)
	for _, a := range []string{"169.254.169.254/32", "10.1.2.3/32"} {
		to, err := netlink.ParseIPNet(a)
		must(err)
		must(netlink.RouteAdd(&netlink.Route{LinkIndex: near.Attrs().Index, Dst: to,
			Scope: netlink.SCOPE_LINK}))
	}
	w.resolve()
	return w
}

// up brings a link up, with addresses.
func up(name string, addresses ...string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, text := range addresses {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, a); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("%s on %s: %w", text, name, err)
		}
	}
	return netlink.LinkSetUp(link)
}

// do runs something at the far end of the cable.
func (w *world) do(what func() error) {
	w.t.Helper()
	done := make(chan error)
	w.there <- func() { done <- what() }
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
}

// listen gives a listener at the far end, on all addresses.
func (w *world) listen(port int) (l net.Listener) {
	w.t.Helper()
	w.do(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	})
	w.t.Cleanup(func() { l.Close() })
	return l
}

// resolve answers for the names, and makes this host ask there.
func (w *world) resolve() {
	var conn net.PacketConn
	w.do(func() (err error) {
		conn, err = net.ListenPacket("udp4", "192.0.2.53:53")
		return err
	})
	w.t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer := w.answer(buffer[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		w.t.Fatal(err)
	}
	w.replace("/etc/resolv.conf", "nameserver 192.0.2.53\n")
}

// replace puts a text in the place of a file of this host.
func (w *world) replace(path, text string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
	addr, known := w.names[name]
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true},
		Questions: m.Questions}
	switch {
	case !known && len(w.other[name]) == 0:
		out.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		out.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class,
			TTL: 60},
			Body: &dnsmessage.AResource{A: addr.As4()}}}
	}
	for _, body := range w.other[name] {
		head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
		r := dnsmessage.Resource{Header: head, Body: body}
		switch body.(type) {
		case *dnsmessage.TXTResource:
			r.Header.Type = dnsmessage.TypeTXT
		case *dnsmessage.NSResource:
			r.Header.Type = dnsmessage.TypeNS
		}
		if r.Header.Type == q.Type {
			out.Answers = append(out.Answers, r)
		}
	}
	packed, err := out.Pack()
	if err != nil {
		return nil
	}
	return packed
}
