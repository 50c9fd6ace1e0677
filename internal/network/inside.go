package network

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// relayInside leads a connection from outside to the guest's loopback. An error means that there is no way
// there; the connection is still the caller's then.
func (n *Network) relayInside(life context.Context, host *net.TCPConn, port int) error {
	if n.inside == nil {
		return errors.New("no way to the guest's loopback")
	}
	select {
	case n.insides <- struct{}{}:
		defer func() { <-n.insides }()
	default:
		return errors.New("too many connections to the guest's loopback")
	}
	limited, cancel := context.WithTimeout(life, insideTimeout)
	guest, err := n.inside(limited, port)
	cancel()
	if err != nil {
		return err
	}
	n.counters.allowed.Add(1)
	splice := &splice{network: n, host: host, guest: guest}
	defer context.AfterFunc(life, splice.abort)()
	splice.run()
	return nil
}

// splice moves data both ways between a connection from outside and one to the guest's loopback.
type splice struct {
	network *Network
	host    *net.TCPConn
	guest   Conn
}

func (s *splice) run() {
	var down sync.WaitGroup
	down.Go(func() {
		count, err := s.move(s.host, s.guest)
		s.network.counters.out.Add(count)
		s.finish(err, s.host.CloseWrite)
	})
	count, err := s.move(s.guest, s.host)
	s.network.counters.in.Add(count)
	s.finish(err, s.guest.CloseWrite)
	down.Wait()
	s.guest.Close()
	s.host.Close()
}

// finish passes on that one direction has ended, or resets both.
func (s *splice) finish(err error, end func() error) {
	if err != nil || end() != nil {
		s.abort()
	}
}

// abort resets both sides.
func (s *splice) abort() {
	s.host.SetLinger(0)
	s.host.Close()
	s.guest.Close()
}

// move copies until the end, or until nothing has moved for too long.
func (s *splice) move(to io.Writer, from io.Reader) (count int64, err error) {
	idle := time.AfterFunc(idleTimeout, s.abort)
	defer idle.Stop()
	buf := make([]byte, copyBuffer)
	for {
		size, err := from.Read(buf)
		if size > 0 {
			idle.Reset(idleTimeout)
			if _, err := to.Write(buf[:size]); err != nil {
				return count, err
			}
			count += int64(size)
		}
		if err == io.EOF {
			return count, nil
		}
		if err != nil {
			return count, err
		}
	}
}
