package network

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// session is one connection: an endpoint of the stack towards the guest, a socket towards the host. Data is
// moved only when the other side takes it, so that what waits is in the two bounded buffers of the endpoint
// and in the socket's, and an idle session holds no other buffer.
type session struct {
	network *Network
	queue   waiter.Queue
	ep      tcpip.Endpoint
	host    *net.TCPConn
	dst     netip.AddrPort
	guest   int          // for which of the guests, see sessions
	inspect bool         // the guest's first bytes must show a listed name
	large   atomic.Bool  // the buffers may grow
	total   atomic.Int64 // bytes moved
	moved   atomic.Int64 // when, in nanoseconds
	half    atomic.Bool
}

// copyBuffers are used while bytes are in hand and never kept while waiting for some.
var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// relay moves data both ways until both sides have finished or one has failed.
func (s *session) relay() {
	n := s.network
	s.progress(0)
	if !n.sessions.add(s) {
		s.abort()
		return
	}
	defer n.sessions.remove(s)
	s.ep.SocketOptions().SetSendBufferSize(smallBuffer, true)
	watch := waiter.NewFunctionEntry(waiter.EventHUp|waiter.EventErr, func(waiter.EventMask) {
		if s.state() == tcp.StateError {
			s.closeHost()
		}
	})
	s.queue.EventRegister(&watch)
	defer s.queue.EventUnregister(&watch)

	raw, err := s.host.SyscallConn()
	if err != nil {
		s.abort()
		return
	}
	var down sync.WaitGroup
	down.Go(func() { s.toGuest(raw) })
	s.fromGuest(raw)
	down.Wait()
	s.host.Close()
	s.finish()
}

// finish closes the endpoint and waits until it has brought the last bytes and the end to the guest: only
// then its place is free.
func (s *session) finish() {
	entry, ended := waiter.NewChannelEntry(waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	s.ep.Close()
	limit := time.NewTimer(lingerTimeout)
	defer limit.Stop()
	for !s.isOver() {
		select {
		case <-ended:
		case <-limit.C:
			s.ep.Abort()
		}
	}
}

func (s *session) state() tcp.EndpointState { return tcp.EndpointState(s.ep.State()) }

func (s *session) isOver() bool {
	state := s.state()
	return state == tcp.StateClose || state == tcp.StateError || state == tcp.StateTimeWait
}

// progress notes that bytes were moved. A session that moves many may have larger buffers, as far as there
// are any to be had.
func (s *session) progress(count int) {
	s.moved.Store(time.Now().UnixNano())
	total := s.total.Add(int64(count))
	if !s.large.Load() && total/growAfter != (total-int64(count))/growAfter && s.network.sessions.grow(s) {
		s.ep.SocketOptions().SetSendBufferSize(largeBuffer, true)
	}
}

// abort resets both sides. It can be called at any time and more than once.
func (s *session) abort() {
	s.closeHost()
	if s.ep != nil {
		s.ep.Abort()
	}
}

func (s *session) closeHost() {
	if s.host != nil {
		s.host.SetLinger(0)
		s.host.Close()
	}
}

// fromGuest moves what the guest sends to the host.
func (s *session) fromGuest(raw syscall.RawConn) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	if s.inspect {
		c := checker{
			host:    s.host,
			policy:  s.network.policy,
			port:    s.dst.Port(),
			refused: s.refused,
		}
		if err := c.check(&guestReader{s, ready}); err != nil {
			s.finishGuest(err)
			return
		}
	}
	for {
		var w socketWriter
		var terr tcpip.Error
		err := raw.Write(func(fd uintptr) bool {
			w = socketWriter{fd: int(fd)}
			var result tcpip.ReadResult
			result, terr = s.ep.Read(&w, tcpip.ReadOptions{})
			if result.Count > 0 {
				s.progress(result.Count)
				if s.large.Load() {
					s.ep.ModerateRecvBuf(result.Count)
				}
			}
			return !w.full
		})
		switch {
		case err != nil:
			s.abort()
			return
		case w.err != nil:
			s.abort()
			return
		case terr == nil:
		case isWouldBlock(terr):
			<-ready
		default:
			s.finishGuest(readError(terr))
			return
		}
	}
}

func (s *session) refused(name, reason string) {
	s.network.decided("tcp", s.dst, verdict{name: name, reason: reason})
}

// finishGuest passes on that the guest sends no more, or resets both sides.
func (s *session) finishGuest(err error) {
	if !errors.Is(err, io.EOF) || s.state() == tcp.StateError {
		s.abort()
		return
	}
	s.half.Store(true)
	s.host.CloseWrite()
}

// toGuest moves what the host's socket gets to the guest.
func (s *session) toGuest(raw syscall.RawConn) {
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	for {
		var buf *[copyBuffer]byte
		var count int
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			buf = copyBuffers.Get().(*[copyBuffer]byte)
			count, rerr = ignoreInterrupt(func() (int, error) { return unix.Read(int(fd), buf[:]) })
			if rerr == unix.EAGAIN {
				copyBuffers.Put(buf)
				return false
			}
			return true
		})
		if err != nil || rerr != nil {
			s.abort()
			return
		}
		if count == 0 {
			copyBuffers.Put(buf)
			s.half.Store(true)
			s.ep.Shutdown(tcpip.ShutdownWrite)
			return
		}
		s.progress(count)
		ok := s.write(buf[:count], ready)
		copyBuffers.Put(buf)
		if !ok {
			s.abort()
			return
		}
	}
}

// write gives the endpoint all of the data.
func (s *session) write(data []byte, ready <-chan struct{}) bool {
	r := bytes.NewReader(data)
	for r.Len() > 0 {
		_, terr := s.ep.Write(r, tcpip.WriteOptions{})
		switch {
		case terr == nil:
			s.progress(0)
		case isWouldBlock(terr):
			<-ready
		default:
			return false
		}
	}
	return true
}

func isWouldBlock(err tcpip.Error) bool {
	_, ok := err.(*tcpip.ErrWouldBlock)
	return ok
}

func readError(err tcpip.Error) error {
	if _, ok := err.(*tcpip.ErrClosedForReceive); ok {
		return io.EOF
	}
	return errors.New(err.String())
}

// socketWriter writes to a socket without waiting, so that the endpoint's data goes there without a copy.
type socketWriter struct {
	fd   int
	full bool
	err  error
}

func (w *socketWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		count, err := ignoreInterrupt(func() (int, error) { return unix.Write(w.fd, p[done:]) })
		if err == unix.EAGAIN {
			w.full = true
			return done, err
		}
		if err != nil {
			w.err = err
			return done, err
		}
		done += count
	}
	return done, nil
}

func ignoreInterrupt(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}

// guestReader reads what the guest sends, for those who have to look at it.
type guestReader struct {
	session *session
	ready   <-chan struct{}
}

func (r *guestReader) Read(p []byte) (int, error) {
	for {
		w := tcpip.SliceWriter(p)
		result, terr := r.session.ep.Read(&w, tcpip.ReadOptions{})
		switch {
		case result.Count > 0:
			r.session.progress(result.Count)
			return result.Count, nil
		case isWouldBlock(terr):
			<-r.ready
		case terr != nil:
			return 0, readError(terr)
		}
	}
}
