package mcpserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Path is where the HTTP handler answers.
const Path = "/mcp"

// HTTPOptions says who may speak to the HTTP handler, and how much. The zero value of each field but Token is
// its documented default.
type HTTPOptions struct {
	// Token is the bearer token that each request must carry. It must not be empty.
	Token string
	// Hosts are names that requests may use for this server, beside localhost and the loopback addresses.
	Hosts []string
	// MaxBody bounds a request's body; 0 is 8 MiB.
	MaxBody int64
	// MaxSessions bounds the sessions that are open at once; 0 is 64.
	MaxSessions int
	// SessionTimeout ends a session that is idle for so long; 0 is 10 minutes.
	SessionTimeout time.Duration
}

// statelessVersion is the first version of the protocol without sessions.
const statelessVersion = "2026-07-28"

// NewToken makes a bearer token.
func NewToken() string { return rand.Text() }

// HTTPHandler serves streamable HTTP at [Path], to those who carry the token and come from no foreign web
// page.
func (s *Server) HTTPHandler(o HTTPOptions) (http.Handler, error) {
	if o.Token == "" {
		return nil, errors.New("cannot serve HTTP without a bearer token")
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 8 << 20
	}
	if o.MaxSessions <= 0 {
		o.MaxSessions = 64
	}
	if o.SessionTimeout <= 0 {
		o.SessionTimeout = 10 * time.Minute
	}
	single := s.build(false)
	stateful := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.mcp },
		&mcp.StreamableHTTPOptions{
			SessionTimeout:             o.SessionTimeout,
			MaxRequestBodyBytes:        o.MaxBody,
			DisableLocalhostProtection: true,
			// A client whose connection broke comes back for the rest of what it was sent.
			EventStore: mcp.NewMemoryEventStore(nil),
		})
	stateless := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return single },
		&mcp.StreamableHTTPOptions{
			Stateless:                    true,
			PropagateRequestCancellation: true,
			MaxRequestBodyBytes:          o.MaxBody,
			DisableLocalhostProtection:   true,
		})
	g := &gate{options: o, token: sha256.Sum256([]byte(o.Token)), sessions: s.sessions}
	mux := http.NewServeMux()
	mux.Handle(Path, g.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The versions are dates, so their order is that of their texts.
		if r.Header.Get("Mcp-Protocol-Version") >= statelessVersion {
			stateless.ServeHTTP(w, r)
			return
		}
		stateful.ServeHTTP(w, r)
	})))
	return mux, nil
}

// ServeHTTP serves on a listener until ctx ends, then ends all sessions and removes what they made.
func (s *Server) ServeHTTP(ctx context.Context, listener net.Listener, o HTTPOptions) error {
	handler, err := s.HTTPHandler(o)
	if err != nil {
		return err
	}
	s.serving.Add(1)
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		for session := range s.mcp.Sessions() {
			_ = session.Close()
		}
		politely, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(politely) != nil {
			_ = server.Close()
		}
		err = <-ended
	}
	s.leave()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Server) sessions() int {
	n := 0
	for range s.mcp.Sessions() {
		n++
	}
	return n
}

// gate refuses requests before the protocol sees them.
type gate struct {
	options  HTTPOptions
	token    [sha256.Size]byte
	sessions func() int
}

func (g *gate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !g.hostAllowed(r.Host):
			http.Error(w, "the Host header names no address of this server", http.StatusForbidden)
		case !g.originAllowed(r):
			http.Error(w, "requests from web pages are refused", http.StatusForbidden)
		case !g.tokenRight(r.Header.Get("Authorization")):
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token is needed: Authorization: Bearer TOKEN", http.StatusUnauthorized)
		case r.ContentLength > g.options.MaxBody:
			http.Error(w, "the request's body is too large", http.StatusRequestEntityTooLarge)
		case g.opensSession(r) && g.sessions() >= g.options.MaxSessions:
			http.Error(w, "too many sessions are open", http.StatusServiceUnavailable)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// hostAllowed guards against DNS rebinding, in which a web page's own name leads to this server: no name but
// its own is taken. Addresses cannot be rebound.
func (g *gate) hostAllowed(host string) bool {
	name := hostname(host)
	if name == "localhost" || slices.ContainsFunc(g.options.Hosts, func(h string) bool {
		return strings.EqualFold(h, name)
	}) {
		return true
	}
	return net.ParseIP(name) != nil
}

// originAllowed lets those pass that are no web pages, and pages of this very server.
func (g *gate) originAllowed(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return false
		}
	}
	return true
}

func (g *gate) tokenRight(authorization string) bool {
	scheme, token, _ := strings.Cut(authorization, " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

func (g *gate) opensSession(r *http.Request) bool {
	return r.Method == http.MethodPost && r.Header.Get("Mcp-Session-Id") == "" &&
		r.Header.Get("Mcp-Protocol-Version") < statelessVersion
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
