package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// servers are what clients speak to, on this host's loopback.
type servers struct {
	listeners []net.Listener
	web       *http.Server
	echoes    atomic.Int64 // open connections to the echo
}

// The order of the ports that a client is told.
const (
	portSink   = iota // takes bytes, answers with how many at their end
	portSource        // gives bytes
	portEcho
	portHTTP
	portCount
)

func listen() (*servers, error) {
	s := &servers{}
	for range portCount {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	go accept(s.listeners[portSink], func(c net.Conn) {
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
		fmt.Fprintf(c, "%d\n", n)
	})
	go accept(s.listeners[portSource], func(c net.Conn) {
		block := make([]byte, 256<<10)
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	go accept(s.listeners[portEcho], func(c net.Conn) {
		s.echoes.Add(1)
		defer s.echoes.Add(-1)
		_, _ = io.Copy(c, c)
	})
	s.web = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello\n")
	})}
	go s.web.Serve(s.listeners[portHTTP])
	return s, nil
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// ports lists the ports, for a client's command line.
func (s *servers) ports() string {
	var ports []string
	for _, l := range s.listeners {
		ports = append(ports, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	}
	return strings.Join(ports, ",")
}

func (s *servers) close() {
	for _, l := range s.listeners {
		l.Close()
	}
	if s.web != nil {
		s.web.Close()
	}
}
