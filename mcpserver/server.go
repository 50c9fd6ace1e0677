// Package mcpserver serves pyro's operations as tools of the Model Context Protocol, over stdio or HTTP.
//
//	p, err := pyro.New()
//	if err != nil { … }
//	err = mcpserver.CreateServer(p).ServeStdio(ctx, os.Stdin, os.Stdout)
package mcpserver

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
)

// A Profile is a set of tools.
type Profile string

// The profiles, from the narrowest to the widest.
const (
	ProfileRun  Profile = "vm-run" // vm_run alone
	ProfileCore Profile = "core"   // vm_run, and what a task needs: create, run, read what is left, delete
	ProfileTask Profile = "task"   // all that tasks have, and the list of environments
	ProfileFull Profile = "full"   // all
)

// Profiles lists the profiles.
func Profiles() []Profile { return []Profile{ProfileRun, ProfileCore, ProfileTask, ProfileFull} }

// Options changes what [CreateServer] makes. The zero value of each field is its documented default.
type Options struct {
	// Profile narrows the tools; "" is full.
	Profile Profile
	// Version is what clients are told; "" is that of the module.
	Version string
	// Policy is what a model may reach beyond a VM.
	Policy Policy
}

const instructions = `pyro runs commands in throw-away Linux microVMs, apart from the user's machine. ` +
	`Use vm_run for a single command. For work of several steps create a task (task_create), run commands in it ` +
	`(task_exec; /workspace and all other files persist between them) and delete it at the end (task_delete). ` +
	`The network is off unless asked for.`

// Server is an MCP server for one engine. Make it with [CreateServer]; it may serve any number of sessions.
type Server struct {
	engine  *pyro.Pyro
	options Options
	mcp     *mcp.Server // for sessions that live as long as their connection
	owned   owned
	pulls   pulls
	serving atomic.Int64 // calls of Run and ServeHTTP in progress
}

// CreateServer makes a server for p. The engine stays the caller's to close, after the server has ended.
// Of several options the last is taken.
func CreateServer(p *pyro.Pyro, o ...Options) *Server {
	s := &Server{engine: p}
	if len(o) > 0 {
		s.options = o[len(o)-1]
	}
	if s.options.Profile == "" {
		s.options.Profile = ProfileFull
	}
	if s.options.Version == "" {
		s.options.Version = moduleVersion()
	}
	s.owned.remove = s.removeVM
	s.pulls = pulls{pull: p.PullEnvironment, has: p.InspectEnvironment, wait: pullPatience}
	s.mcp = s.build(true)
	return s
}

// MCP gives the SDK's server, to serve over a transport of one's own.
func (s *Server) MCP() *mcp.Server { return s.mcp }

// Run serves one session over a transport and returns when it has ended and what it made is removed.
func (s *Server) Run(ctx context.Context, transport mcp.Transport) error {
	s.serving.Add(1)
	err := s.mcp.Run(ctx, transport)
	s.leave()
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// leave returns when what ended sessions made is removed; the last one to leave ends what the server does for
// all.
func (s *Server) leave() {
	s.owned.wait()
	if s.serving.Add(-1) == 0 {
		s.pulls.end()
	}
}

// ServeStdio serves one session over a pair of streams, a JSON message a line, until in ends or ctx does.
// Lines that are too long or no messages are answered with an error, and the session goes on.
func (s *Server) ServeStdio(ctx context.Context, in io.Reader, out io.Writer) error {
	return s.Run(ctx, &lineTransport{in: in, out: out})
}

// build makes the SDK's server. Sessions that outlive a call own the VMs that they create.
func (s *Server) build(sessions bool) *mcp.Server {
	server := mcp.NewServer(
		&mcp.Implementation{Name: "pyro", Title: "pyro: commands in microVMs", Version: s.options.Version},
		&mcp.ServerOptions{
			Instructions: instructions,
			Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
		},
	)
	to := &toolbox{
		Server:   s,
		into:     server,
		sessions: sessions,
		profile:  s.options.Profile,
	}
	to.fill()
	server.AddReceivingMiddleware(declaredOnly)
	return server
}

// declaredOnly answers what this server has not declared as any other method that it does not know.
func declaredOnly(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
		for _, feature := range []string{"prompts/", "resources/", "completion/", "logging/"} {
			if strings.HasPrefix(method, feature) {
				return nil, &jsonrpc.Error{
					Code:    jsonrpc.CodeMethodNotFound,
					Message: "this server has no " + method,
				}
			}
		}
		return next(ctx, method, r)
	}
}

func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == "github.com/pyro-mcp/pyro" && m.Version != "" {
				return m.Version
			}
		}
	}
	return "0.0.0-dev"
}
