// Command conformance is pyro's MCP server over HTTP with the tools that the protocol's conformance suite
// calls, for test/conformance/run. Nothing that is shipped has them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/mcpserver"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve prints where it serves, and does so until its standard input ends.
func serve() error {
	engine, err := pyro.New()
	if err != nil {
		return err
	}
	defer engine.Close()
	server := mcpserver.CreateServer(engine, mcpserver.Options{Profile: mcpserver.ProfileCore})
	for _, f := range fixtures() {
		tool := &mcp.Tool{
			Name:        f.name,
			Description: "A fixture of the conformance suite",
			InputSchema: json.RawMessage(f.schema),
		}
		if f.schema == "" {
			tool.InputSchema = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		server.MCP().AddTool(tool, f.answer)
	}
	// The suite has no credentials: this build gives them to whoever comes.
	token := mcpserver.NewToken()
	inner, err := server.HTTPHandler(mcpserver.HTTPOptions{Token: token})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s%s\n", listener.Addr(), mcpserver.Path)
	outer := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+token)
		inner.ServeHTTP(w, r)
	})}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // until who started this goes
		outer.Close()
	}()
	if err := outer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// fixture is a tool as the suite wants it.
type fixture struct {
	name   string
	schema string // of its parameters; "" is none
	answer func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error)
}

func text(format string, args ...any) *mcp.TextContent {
	return &mcp.TextContent{Text: fmt.Sprintf(format, args...)}
}

func content(all ...mcp.Content) *mcp.CallToolResult { return &mcp.CallToolResult{Content: all} }

// always answers with the same.
func always(
	result *mcp.CallToolResult,
) func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return result, nil }
}
