package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// How a service is looked after.
const (
	probePace    = 100 * time.Millisecond
	probeLimit   = 5 * time.Second // of one look
	firstBackoff = time.Second
	lastBackoff  = time.Minute
	steadyAfter  = time.Minute // a service that ran for so long starts from the first back-off again
	longestLine  = 64 << 10    // of a service's output that is matched
	stopGrace    = 5 * time.Second
)

// serve keeps a service running: it is started again when it fails, if that is wanted, each time a little
// later.
func (j *job) serve(g *running) (link.ExecResult, error) {
	var b backoff
	for {
		began := time.Now()
		result, err := j.attempt(g)
		if err != nil || j.over.Err() != nil || j.isStopped() {
			return result, err
		}
		service := j.spec.Service
		failed := result.ExitCode != 0 || j.snapshot().State == link.JobFailed
		wait := b.failed(time.Since(began))
		if !failed || !service.Restart || service.MaxRestarts > 0 && b.count > service.MaxRestarts {
			if failed {
				j.update(func(rec *record.Job) { rec.State = link.JobFailed })
			}
			return result, nil
		}
		j.update(func(rec *record.Job) { rec.State = link.JobBackoff })
		if !j.pause(g, wait) {
			return result, nil
		}
		j.update(func(rec *record.Job) { rec.State, rec.Restarts = link.JobStarting, rec.Restarts+1 })
	}
}

// backoff says how long to wait before a service is started again. The zero value has seen no failure.
type backoff struct {
	count int // failures in a row
	last  time.Duration
}

// failed notes a failure of what has run for a while, and gives the wait after it.
func (b *backoff) failed(ran time.Duration) time.Duration {
	if ran > steadyAfter {
		*b = backoff{}
	}
	b.count++
	b.last = min(max(2*b.last, firstBackoff), lastBackoff)
	return b.last
}

// pause waits before a service is started again, and tells whether it is to be.
func (j *job) pause(g *running, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !j.isStopped()
	case <-j.over.Done():
	case <-g.Done():
	}
	return false
}

func (j *job) isStopped() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stopped
}

// attempt runs a service once, and looks whether it gets ready in time.
func (j *job) attempt(g *running) (link.ExecResult, error) {
	ctx, cancel := context.WithCancel(j.over)
	defer cancel()
	probe, err := j.probe(g)
	if err != nil {
		return link.ExecResult{}, err
	}
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		limited, over := context.WithTimeout(ctx, time.Duration(j.spec.Service.ReadyMS)*time.Millisecond)
		defer over()
		why := awaitReady(limited, probe)
		if ctx.Err() != nil {
			return
		}
		if why == nil {
			j.update(func(rec *record.Job) { rec.State, rec.Notice = link.JobReady, "" })
			j.settle.Do(func() { close(j.settled) })
			return
		}
		j.update(func(rec *record.Job) {
			rec.State, rec.Notice = link.JobFailed, "it was not ready in time: "+why.Error()
		})
		stopping, stopped := context.WithTimeout(context.Background(), stopGrace)
		defer stopped()
		if j.signal(stopping, 15) == nil {
			select {
			case <-ctx.Done():
			case <-stopping.Done():
			}
		}
		cancel()
	}()
	result, err := j.once(ctx, g)
	cancel()
	<-looked
	return result, err
}

// awaitReady looks again and again until a service is ready, and gives what it saw last if that is never.
func awaitReady(ctx context.Context, probe func(context.Context) error) error {
	ticker := time.NewTicker(probePace)
	defer ticker.Stop()
	why := errors.New("it was not looked at")
	for {
		limited, cancel := context.WithTimeout(ctx, probeLimit)
		err := probe(limited)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || why == nil {
			why = err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return why
		}
	}
}

// probe gives what looks once whether a service is ready.
func (j *job) probe(g *running) (func(context.Context) error, error) {
	ready := j.spec.Service.Ready
	switch {
	case ready.HTTP != "":
		port, path, _ := strings.Cut(ready.HTTP, "/")
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, refuse(link.CodeInvalid, "%q names no port", ready.HTTP)
		}
		return func(ctx context.Context) error { return probeHTTP(ctx, g, n, "/"+path) }, nil
	case ready.TCP != 0:
		return func(ctx context.Context) error {
			c, err := g.Dial(ctx, link.Dial{Port: ready.TCP})
			if err != nil {
				return err
			}
			return c.Close()
		}, nil
	case ready.File != "":
		return func(ctx context.Context) error {
			return probeExec(ctx, g, link.Exec{Argv: []string{"test", "-e", ready.File}})
		}, nil
	case ready.Command != "":
		return func(ctx context.Context) error {
			return probeExec(ctx, g, link.Exec{Command: ready.Command})
		}, nil
	case ready.Log != "":
		pattern, err := regexp.Compile(ready.Log)
		if err != nil {
			return nil, refuse(link.CodeInvalid, "%q is no pattern: %v", ready.Log, err)
		}
		watch := newLineWatch(pattern)
		j.mu.Lock()
		j.watch = watch
		j.mu.Unlock()
		return watch.await, nil
	}
	return func(context.Context) error {
		_, _, err := j.current()
		return err
	}, nil
}

func probeExec(ctx context.Context, g *running, e link.Exec) error {
	e.TimeoutMS = probeLimit.Milliseconds()
	result, err := g.Exec(ctx, e, link.Streams{})
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("%q ended with %d", e.Line(), result.ExitCode)
	}
	return err
}

// probeHTTP asks a server on the guest's loopback. Its answer is a guest's: no more of it is read than its
// head.
func probeHTTP(ctx context.Context, g *running, port int, path string) error {
	transport := &http.Transport{
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := g.Dial(ctx, link.Dial{Port: port})
			if err != nil {
				return nil, err
			}
			return inside{c}, nil
		},
	}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	url := fmt.Sprintf("http://localhost:%d%s", port, path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("it answers with status %d", answer.StatusCode)
	}
	return nil
}

// inside is a connection into the guest, for who wants one of package net.
type inside struct{ link.Duplex }

func (inside) LocalAddr() net.Addr              { return nowhere{} }
func (inside) RemoteAddr() net.Addr             { return nowhere{} }
func (inside) SetDeadline(time.Time) error      { return nil }
func (inside) SetReadDeadline(time.Time) error  { return nil }
func (inside) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "guest" }
func (nowhere) String() string  { return "guest" }

// lineWatch waits for a line.
type lineWatch struct {
	pattern *regexp.Regexp
	found   chan struct{}

	mu   sync.Mutex // both of the command's streams write
	line []byte
	seen bool
}

func newLineWatch(pattern *regexp.Regexp) *lineWatch {
	return &lineWatch{pattern: pattern, found: make(chan struct{})}
}

// Write looks at what a command writes, and never fails.
func (w *lineWatch) Write(p []byte) (int, error) {
	n := len(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 && !w.seen {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		if room := longestLine - len(w.line); room > 0 {
			w.line = append(w.line, part[:min(room, len(part))]...)
		}
		if w.pattern.Match(w.line) {
			w.seen, w.line = true, nil
			close(w.found)
		}
		if i < 0 {
			break
		}
		w.line, p = w.line[:0], p[i+1:]
	}
	return n, nil
}

func (w *lineWatch) await(ctx context.Context) error {
	select {
	case <-w.found:
		return nil
	case <-ctx.Done():
		return errors.New("no line of its output matches")
	}
}
