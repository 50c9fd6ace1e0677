package oci

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// plainError refuses a request without TLS.
type plainError struct{ host string }

func (e *plainError) Error() string {
	return fmt.Sprintf("%q would have to be asked without it", e.host)
}

// Final tells that another attempt would change nothing.
func (e *plainError) Final() {}

// guard lets requests pass only with TLS, but for those that go where it may be done without: to insecure
// hosts, and from one service on this host to another.
type guard struct {
	registry    string
	insecure    []string
	patience    time.Duration // with a body that brings nothing
	strict, lax *http.Transport
}

func newGuard(registry string, insecure []string) *guard {
	g := &guard{registry: registry, insecure: insecure, patience: time.Minute}
	g.strict = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		DisableCompression:     true,
		DialContext:            (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		MaxResponseHeaderBytes: 256 << 10,
	}
	g.lax = g.strict.Clone()
	g.lax.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // asked for by name
	return g
}

func (g *guard) close() {
	g.strict.CloseIdleConnections()
	g.lax.CloseIdleConnections()
}

// plain tells whether the registry may be asked without TLS.
func (g *guard) plain() bool { return g.mayPlain(g.registry) }

func (g *guard) mayPlain(host string) bool {
	return slices.Contains(g.insecure, host) || loopback(host) && loopback(g.registry)
}

func loopback(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// maxTalk bounds what is read of answers that are no files.
const maxTalk = 64 << 10

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !g.mayPlain(r.URL.Host) {
		return nil, &plainError{r.URL.Host}
	}
	inner := g.strict
	if slices.Contains(g.insecure, r.URL.Host) {
		inner = g.lax
	}
	response, err := inner.RoundTrip(r)
	if err == nil && (response.StatusCode > 299 || strings.HasSuffix(r.URL.Path, "/v2/")) {
		response.Body = body{io.LimitReader(response.Body, maxTalk), response.Body}
	}
	if err == nil {
		response.Body = watch(response.Body, g.patience)
	}
	return response, err
}

type body struct {
	io.Reader
	io.Closer
}

// watched is a body that is closed when it has brought nothing for too long, since not all who read it watch
// it.
type watched struct {
	io.ReadCloser
	timer *time.Timer
	limit time.Duration
}

func watch(b io.ReadCloser, limit time.Duration) *watched {
	return &watched{b, time.AfterFunc(limit, func() { b.Close() }), limit}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.timer.Reset(w.limit)
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	return w.ReadCloser.Close()
}
