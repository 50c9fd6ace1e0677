// Package e2b is the face for programs that are written for E2B's sandboxes: unmodified SDKs run against pyro
// on a person's own machine. A sandbox is a task. Two interfaces are served at one address: the REST
// interface that makes sandboxes, and the one of each sandbox (processes over Connect in JSON, files over
// HTTP), which requests name by a header or by their host.
//
// The interfaces are as the SDKs of 2026 speak them: e2b 2.63 for Python, its process.proto and
// filesystem.proto.
package e2b

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro"
)

// Options says who may use the server, and what sandboxes may be given.
type Options struct {
	// Key is the API key that requests must carry. It must not be empty.
	Key string
	// Domain is the end of the host names by which the ports of sandboxes are reached, PORT-ID.Domain; empty
	// is localhost with the port that the server listens on, or its address if that is no loopback one.
	Domain string
	// Template is the environment of the template "base", which SDKs ask for unless told otherwise. All
	// other names of templates are names of environments.
	Template string
	// Network lets sandboxes have a network, which they then get unless their maker refuses it.
	Network bool
	// Allow is an allow-list for that network; none is the public internet.
	Allow []string
	// Log takes what would help to debug; nil is silence.
	Log *slog.Logger
}

// Server serves sandboxes.
type Server struct {
	engine  *pyro.Pyro
	options Options

	mu       sync.Mutex
	ends     map[string]time.Time // when a sandbox is to be removed, by its id
	watchers map[string]*watcher
	known    map[string]map[int]processInfo // what was started, by sandbox and pid
}

// New makes a server. It removes sandboxes whose time is over for as long as Serve runs.
func New(engine *pyro.Pyro, o Options) (*Server, error) {
	if o.Key == "" {
		return nil, errors.New("cannot serve sandboxes without an API key")
	}
	if o.Template == "" {
		o.Template = "debian:12"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		engine:   engine,
		options:  o,
		ends:     map[string]time.Time{},
		watchers: map[string]*watcher{},
		known:    map[string]map[int]processInfo{},
	}, nil
}

// Serve serves on a listener until ctx ends. Sandboxes live on, for as long as they were given.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if s.options.Domain == "" {
		s.options.Domain = defaultDomain(listener.Addr())
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		Protocols:         protocols,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	reaping := make(chan struct{})
	go func() {
		defer close(reaping)
		s.reap(ctx)
	}()
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.Serve(listener)
	if ctx.Err() == nil {
		return err
	}
	<-reaping
	return nil
}

// Handler answers requests of both interfaces.
func (s *Server) Handler() http.Handler {
	api := http.NewServeMux()
	for pattern, answer := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /sandboxes":                 s.create,
		"POST /v2/sandboxes":              s.create,
		"GET /sandboxes":                  s.list,
		"GET /v2/sandboxes":               s.list,
		"GET /sandboxes/{id}":             s.inspect,
		"DELETE /sandboxes/{id}":          s.remove,
		"POST /sandboxes/{id}/timeout":    s.setTimeout,
		"POST /sandboxes/{id}/refreshes":  s.setTimeout,
		"POST /sandboxes/{id}/connect":    s.connect,
		"POST /v2/sandboxes/{id}/connect": s.connect,
		"POST /sandboxes/{id}/resume":     s.connect,
		"GET /sandboxes/{id}/metrics":     s.metrics,
		"POST /sandboxes/{id}/pause":      s.pause,
		"POST /sandboxes/{id}/fork":       s.fork,
		"POST /sandboxes/{id}/snapshots":  s.snapshot,
		"GET /snapshots":                  s.listSnapshots,
		"DELETE /templates/{id}":          s.deleteTemplate,
		"GET /templates":                  s.templates,
		"GET /v2/templates":               s.templates,
		"/":                               unknown,
	} {
		api.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := s.allowed(r); err != nil {
				fail(w, err)
			} else if err := answer(w, r); err != nil {
				fail(w, err)
			}
		})
	}
	sandbox := s.sandboxHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if id, port := s.addressee(r); id != "" {
			s.serveSandbox(w, r, id, port, sandbox)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// unknown refuses what is not there. For a 404 SDKs would say that there is no such sandbox.
func unknown(_ http.ResponseWriter, r *http.Request) error {
	return &statusError{http.StatusNotImplemented, "there is no " + r.Method + " " + r.URL.Path + " here"}
}

// maxBody bounds a request, in bytes: an upload is the longest.
const maxBody = 16 << 30

// envdPort is the port by which SDKs name a sandbox's own interface.
const envdPort = "49983"

// addressee gives the sandbox and port that a request is for: by its headers, else by its host's name.
func (s *Server) addressee(r *http.Request) (id, port string) {
	if id := r.Header.Get("E2b-Sandbox-Id"); id != "" {
		port := r.Header.Get("E2b-Sandbox-Port")
		if port == "" {
			port = envdPort
		}
		return id, port
	}
	return hostOfPort(r.Host, s.options.Domain)
}

// allowed checks the API key.
func (s *Server) allowed(r *http.Request) error {
	key := r.Header.Get("X-Api-Key")
	if key == "" {
		_, key, _ = strings.Cut(r.Header.Get("Authorization"), " ")
	}
	if !hmac.Equal([]byte(key), []byte(s.options.Key)) {
		return &statusError{http.StatusUnauthorized, "the API key is not this server's"}
	}
	return nil
}

// token is what requests to a sandbox must carry: who has it can use that sandbox and no other.
func (s *Server) token(id string) string {
	mac := hmac.New(sha256.New, []byte(s.options.Key))
	mac.Write([]byte("sandbox " + id))
	return hex.EncodeToString(mac.Sum(nil))
}

// statusError is a failure of a request with its status.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

// statuses are those of the engine's failures.
var statuses = []struct {
	kind   error
	status int
	code   string // of Connect
}{
	{pyro.ErrInvalid, http.StatusBadRequest, "invalid_argument"},
	{pyro.ErrNotFound, http.StatusNotFound, "not_found"},
	{pyro.ErrEnvironment, http.StatusNotFound, "not_found"},
	{pyro.ErrState, http.StatusConflict, "failed_precondition"},
	{pyro.ErrLimitReached, http.StatusTooManyRequests, "resource_exhausted"},
	{pyro.ErrNoSpace, http.StatusInsufficientStorage, "resource_exhausted"},
	{pyro.ErrTimeout, http.StatusGatewayTimeout, "deadline_exceeded"},
	{pyro.ErrGuestLost, http.StatusBadGateway, "unavailable"},
	{pyro.ErrGuestUnavailable, http.StatusServiceUnavailable, "unavailable"},
}

// describe gives the status of a failure, and its code in Connect.
func describe(err error) (status int, code string) {
	var own *statusError
	if errors.As(err, &own) {
		switch own.status {
		case http.StatusUnauthorized:
			return own.status, "unauthenticated"
		case http.StatusNotFound:
			return own.status, "not_found"
		case http.StatusConflict:
			return own.status, "already_exists"
		case http.StatusBadRequest:
			return own.status, "invalid_argument"
		case http.StatusForbidden:
			return own.status, "permission_denied"
		}
		return own.status, "internal"
	}
	for _, s := range statuses {
		if errors.Is(err, s.kind) {
			return s.status, s.code
		}
	}
	return http.StatusInternalServerError, "internal"
}

// fail answers with an error.
func fail(w http.ResponseWriter, err error) {
	status, _ := describe(err)
	reply(w, status, map[string]any{"code": status, "message": err.Error()})
}

// reply answers with a JSON document.
func reply(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document) // Who has gone needs no answer.
}

// read reads a request's JSON document; none is the zero value.
func read(r *http.Request, into any) error {
	const limit = 4 << 20
	body := http.MaxBytesReader(nil, r.Body, limit)
	if err := json.NewDecoder(body).Decode(into); err != nil && r.ContentLength != 0 {
		return &statusError{http.StatusBadRequest, "the request cannot be read: " + err.Error()}
	}
	return nil
}
