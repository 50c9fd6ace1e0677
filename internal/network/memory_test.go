package network

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro/internal/socketpair/socketpairtest"
)

// farGuestVariable makes the test binary play a guest, and the servers that it connects to, in a process of
// its own, so that what is measured is the network alone. It holds the guest's Ethernet address.
const farGuestVariable = "NETWORK_TEST_FAR_GUEST"

// runFarGuest tells the port of its server, then opens as many connections as it is told on its input, and
// tells how many it got. The connections stay open until the input ends. With "stall" before the number both
// ends of them write as much as they can, and neither reads.
func runFarGuest() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	var stall atomic.Bool
	go func() {
		var kept []net.Conn // a connection that nothing refers to would be closed
		defer runtime.KeepAlive(&kept)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			kept = append(kept, c)
			if stall.Load() {
				go fill(c)
			}
		}
	}()
	conn, err := net.FileConn(os.NewFile(3, "frames"))
	if err != nil {
		panic(err)
	}
	m := newMachine(GuestConfig{
		MAC: os.Getenv(farGuestVariable), Address: guestAddress + "/29", Gateway: gatewayAddress,
	}, conn)
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		count, _ := strconv.Atoi(strings.TrimPrefix(orders.Text(), "stall "))
		stall.Store(strings.HasPrefix(orders.Text(), "stall "))
		var opened, failed int
		var mu sync.Mutex
		var all sync.WaitGroup
		turns := make(chan struct{}, 64)
		for range count {
			turns <- struct{}{}
			all.Go(func() {
				conn, err := m.dial(listed+":9", time.Minute)
				<-turns
				if err == nil && stall.Load() {
					fill(conn)
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					opened++
				} else {
					failed++
				}
			})
		}
		all.Wait()
		fmt.Println(opened, failed)
	}
}

// fill writes until the other side has taken nothing for a moment.
func fill(c net.Conn) {
	block := make([]byte, 64<<10)
	for err := error(nil); err == nil; _, err = c.Write(block) {
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	}
}

// farGuest is a guest in another process.
type farGuest struct {
	t      testing.TB
	orders io.WriteCloser
	news   *bufio.Reader
}

func newFarGuest(t testing.TB, w *world, n *Network) *farGuest {
	outside, inside := socketpairtest.Conns(t)
	file, err := inside.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), farGuestVariable+"="+n.Guest().MAC)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = os.Stderr
	f := &farGuest{t: t}
	f.orders, _ = cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	f.news = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inside.Close()
	file.Close()
	var served sync.WaitGroup
	served.Go(func() { n.Serve(outside) })
	t.Cleanup(func() {
		f.orders.Close()
		cmd.Wait()
		served.Wait()
	})
	var port uint16
	if _, err := fmt.Fscanln(f.news, &port); err != nil {
		t.Fatal(err)
	}
	w.ports[9] = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	return f
}

// open tells the guest to open connections and returns how many it got and did not get.
func (f *farGuest) open(count int) (opened, failed int) { return f.order(fmt.Sprint(count)) }

func (f *farGuest) order(words string) (opened, failed int) {
	fmt.Fprintln(f.orders, words)
	if _, err := fmt.Fscanln(f.news, &opened, &failed); err != nil {
		f.t.Fatal(err)
	}
	return opened, failed
}

// residentSet reads this process' memory, after what is free was given back.
func residentSet(t testing.TB) int {
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// memoryInUse is what the program itself has in use. Unlike the resident set it is the same under the race
// detector.
func memoryInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// measureOpen is the memory that open connections take.
func measureOpen(t testing.TB, count int) int {
	w := newWorld(t)
	n := newNetwork(t, w.config())
	f := newFarGuest(t, w, n)
	before := residentSet(t)
	if opened, failed := f.open(count); opened != count {
		t.Fatalf("%d opened, %d failed", opened, failed)
	}
	return residentSet(t) - before
}

// TestFlood opens ten times as many connections as there may be.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	n := newNetwork(t, w.config())
	f := newFarGuest(t, w, n)
	before := memoryInUse()
	opened, failed := f.open(10_000)
	if opened != maxConnections || failed != 10_000-maxConnections {
		t.Errorf("%d opened, %d failed", opened, failed)
	}
	if grown := memoryInUse() - before; grown > 32<<20 {
		t.Errorf("the flood takes %d KiB", grown>>10)
	} else {
		t.Logf("the flood takes %d KiB", grown>>10)
	}
	if c := n.Info().Counters; c.ConnectionsOpen != maxConnections {
		t.Errorf("counters %+v", c)
	}
}

// TestStalledPeers has peers that neither read nor close, on either side: writers have to wait, what waits is
// bounded, and Close does not wait.
func TestStalledPeers(t *testing.T) {
	w := newWorld(t)
	n := newNetwork(t, w.config())
	f := newFarGuest(t, w, n)
	const count = 100
	before := memoryInUse()
	if opened, _ := f.order(fmt.Sprint("stall ", count)); opened != count {
		t.Fatalf("%d opened", opened)
	}
	// Data in the buffers takes up to twice its size, as chunks of memory come in powers of two.
	bound := 2 * (largeConnections*2*largeBuffer + (count-largeConnections)*2*smallBuffer)
	grown := memoryInUse() - before
	if grown > bound || n.Info().Counters.BytesOut < count<<10 {
		t.Errorf("%d stalled connections take %d KiB, more than %d; %+v", count, grown>>10, bound>>10,
			n.Info().Counters)
	}
	t.Logf("%d stalled connections take %d KiB", count, grown>>10)
	start := time.Now()
	n.Close()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
}
