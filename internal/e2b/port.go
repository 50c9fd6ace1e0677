package e2b

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// ours are headers of a request that are for this server, not for a program in a sandbox.
var ours = []string{"E2b-Sandbox-Id", "E2b-Sandbox-Port", "X-Access-Token", "X-Api-Key"}

// servePort passes a request on to a server in a sandbox. Whoever knows the sandbox's id may ask, as there:
// it cannot be guessed, and browsers have no other credentials to send.
func (s *Server) servePort(w http.ResponseWriter, r *http.Request, id, port string) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		fail(w, &statusError{http.StatusBadRequest, port + " is no port"})
		return
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.engine.DialTask(ctx, pyro.DialTaskRequest{TaskID: id, Port: int(number)})
		},
		DisableKeepAlives:  true, // A connection is the request's own, and ends with it.
		DisableCompression: true,
	}
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // as it comes
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: "localhost:" + port})
			p.Out.Host = p.In.Host
			p.SetXForwarded()
			for _, name := range ours {
				p.Out.Header.Del(name)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			s.options.Log.Debug("a port cannot be reached", "sandbox", id, "port", port, "error", err)
			reply(w, http.StatusBadGateway, map[string]any{
				"sandboxId": id,
				"port":      number,
				"code":      http.StatusBadGateway,
				"message":   "The sandbox is running but port is not open",
			})
		},
	}
	proxy.ServeHTTP(w, r)
}

// defaultDomain is the end of the names of sandboxes' ports if nobody has chosen one: names below localhost
// are this machine, which browsers and most resolvers know without asking anybody.
func defaultDomain(listening net.Addr) string {
	host, port, err := net.SplitHostPort(listening.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() {
		return "localhost:" + port
	}
	return listening.String()
}

// hostOfPort takes a host's name apart: PORT-ID.DOMAIN.
func hostOfPort(host, domain string) (id, port string) {
	label, rest, ok := strings.Cut(host, ".")
	if !ok || !strings.EqualFold(rest, domain) {
		return "", ""
	}
	port, id, ok = strings.Cut(label, "-")
	if !ok {
		return "", ""
	}
	return strings.ToLower(id), port
}
