package mcpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/text"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t testing.TB, o ...Options) *Server {
	t.Helper()
	p, err := pyro.New(
		pyro.WithStateDir(t.TempDir()),
		pyro.WithCacheDir(t.TempDir()),
		pyro.WithCommand("/nonexistent/pyro"),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return CreateServer(p, o...)
}

func connect(t *testing.T, s *Server) *mcp.ClientSession {
	t.Helper()
	here, there := mcp.NewInMemoryTransports()
	done := make(chan error, 1)
	go func() { done <- s.Run(context.WithoutCancel(t.Context()), there) }()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil).Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		session.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return session
}

func TestProfiles(t *testing.T) {
	for profile, want := range map[Profile]int{ProfileRun: 1, ProfileTask: 25, ProfileFull: 33, "": 33} {
		list, err := connect(t, newServer(t, Options{Profile: profile})).ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Tools) != want {
			t.Errorf("profile %q has %d tools, want %d", profile, len(list.Tools), want)
		}
	}
}

func TestSchemas(t *testing.T) {
	list, err := connect(t, newServer(t)).ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		if tool.Description == "" || tool.Annotations == nil || tool.OutputSchema == nil || tool.Title == "" {
			t.Errorf("%s lacks a description, annotations, a title or an output schema", tool.Name)
		}
		raw, _ := json.Marshal(tool.InputSchema)
		var in struct {
			Properties map[string]struct {
				Type    any      `json:"type"`
				Default any      `json:"default"`
				Minimum *float64 `json:"minimum"`
				About   string   `json:"description"`
			} `json:"properties"`
			Required             []string `json:"required"`
			AdditionalProperties any      `json:"additionalProperties"`
		}
		if err := json.Unmarshal(raw, &in); err != nil {
			t.Fatal(err)
		}
		for name, p := range in.Properties {
			if p.About == "" || p.Type == nil {
				t.Errorf("%s: %s lacks a description or a type: %s", tool.Name, name, raw)
			}
		}
		if tool.Name != "vm_run" {
			continue
		}
		if got := in.Properties["timeout_seconds"]; got.Default != 30.0 || got.Type != "integer" ||
			got.Minimum == nil {
			t.Errorf("timeout_seconds is %+v", got)
		}
		if _, ok := in.Properties["argv"]; ok || !slices.Contains(in.Required, "command") ||
			!slices.Contains(in.Required, "environment") {
			t.Errorf("vm_run takes %s", raw)
		}
	}
}

// Arguments that the schema refuses, and failures of the engine, are results that a model can read.
func TestFailures(t *testing.T) {
	session := connect(t, newServer(t))
	for _, c := range []struct {
		name string
		args any
		want string
	}{
		{"vm_run", map[string]any{"environment": "debian:12"}, "command"},
		{"vm_run", map[string]any{"environment": "debian:12", "command": "true", "vcpus": 2}, "vcpus"},
		{"vm_run", map[string]any{"environment": "x", "command": "true", "vcpu_count": "x"}, "vcpu_count"},
		{"vm_run", map[string]any{"environment": "debian:12", "command": "true", "mem_mib": 1}, "mem_mib"},
		{"task_status", map[string]any{"task_id": "none-such"}, "["},
	} {
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: c.name, Arguments: c.args})
		if err != nil {
			t.Errorf("%s %v: %v", c.name, c.args, err)
			continue
		}
		if text := result.Content[0].(*mcp.TextContent).Text; !result.IsError ||
			!strings.Contains(text, c.want) {
			t.Errorf("%s %v: got %v %q, want an error with %q", c.name, c.args, result.IsError, text, c.want)
		}
	}
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "no_such_tool"}); err == nil {
		t.Error("an unknown tool was called")
	}
}

// Each kind and each cause of a failure comes with advice that a model can act on.
func TestExplain(t *testing.T) {
	for _, r := range pyro.Remedies() {
		if r.Kind == nil {
			continue
		}
		got := explain(&pyro.Error{Kind: r.Kind, Message: "it failed"}, Policy{HostCompat: true})
		if _, advice, _ := strings.Cut(got, "it failed. "); len(advice) < 10 ||
			strings.ContainsAny(got, "{}") ||
			strings.Contains(got, "--") {
			t.Errorf("no advice for a model: %q", got)
		}
	}
	limit := &pyro.Error{Kind: pyro.ErrLimitReached, Cause: "max_active", Message: "4 VMs live already"}
	if got := explain(limit, Policy{}); !strings.HasPrefix(
		got,
		"[limit_reached] 4 VMs live already. Delete one",
	) ||
		!strings.Contains(got, "vm_reap_expired") {
		t.Error(got)
	}
}

// What a schema offers the engine takes, and what it does not offer the engine refuses.
func TestBounds(t *testing.T) {
	s := newServer(t)
	checked := 0
	for _, tool := range tools() {
		o, ok := pyro.OperationNamed(tool.operation)
		if !ok {
			t.Fatalf("%s: no operation %s", tool.name, tool.operation)
		}
		schema, err := inputSchema(o, nil, tool.required...)
		if err != nil {
			t.Fatal(err)
		}
		for name, property := range schema.Properties {
			if property.Maximum == nil {
				continue
			}
			checked++
			for value, want := range map[float64]bool{
				*property.Minimum:     true,
				*property.Maximum:     true,
				*property.Minimum - 1: false,
				*property.Maximum + 1: false,
			} {
				if value == 0 && *property.Minimum > 0 {
					continue // Nothing, which is the default.
				}
				args := map[string]any{}
				for _, required := range schema.Required {
					args[required] = "none-such:1"
				}
				if o.Name == "fork_task" {
					args["snapshot"] = "none-such" // It demands one of two, which a schema does not say.
				}
				args[name] = value
				raw, err := json.Marshal(args)
				if err != nil {
					t.Fatal(err)
				}
				params, err := o.Decode(raw)
				if err == nil {
					_, err = o.Call(t.Context(), s.engine, params, pyro.Hooks{})
				}
				if refused := errors.Is(err, pyro.ErrInvalid); refused == want {
					t.Errorf("%s with %s of %.0f: %v", tool.name, name, value, err)
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d parameters have bounds", checked)
	}
}

// Garbage on stdin is answered, and the session goes on.
func TestStdioGarbage(t *testing.T) {
	in, feed := io.Pipe()
	out, answers := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- newServer(t).ServeStdio(context.Background(), in, answers)
		answers.Close()
	}()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	ask := func(line string) string {
		if line != "" {
			if _, err := io.WriteString(feed, line+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if !lines.Scan() {
			t.Fatalf("no answer to %.60q: %v", line, lines.Err())
		}
		return lines.Text()
	}
	for line, want := range map[string]string{
		`{"jsonrpc":`: `"code":-32700`,
		`nonsense`:    `"code":-32700`,
		`[]`:          `"code":-32600`,
		`17`:          `"code":-32600`,
		`{"id":7}`:    `"code":-32600`,
		"\x00\xff{}":  `"code":-32700`,
		`{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`: `"id":null`,
	} {
		if got := ask(line); !strings.Contains(got, want) {
			t.Errorf("%q: got %s, want %s", line, got, want)
		}
	}
	go func() {
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 50 {
			feed.Write(chunk)
		}
		feed.Write([]byte("\n"))
	}()
	if got := ask(""); !strings.Contains(got, "longer than") {
		t.Errorf("50 MB: got %s", got)
	}
	got := ask(
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`,
	)
	if !strings.Contains(got, `"serverInfo"`) || strings.Contains(got, `"logging"`) {
		t.Error(got)
	}
	io.WriteString(feed, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n")
	if got := ask(`{"jsonrpc":"2.0","id":2,"method":"no/such"}`); !strings.Contains(got, `"id":2`) ||
		!strings.Contains(got, "error") {
		t.Error(got)
	}
	feed.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if lines.Scan() {
		t.Errorf("after the end: %s", lines.Text())
	}
}

// A script may close its end at once, and still gets its answers.
func TestStdioAnswersBeforeTheEnd(t *testing.T) {
	var out bytes.Buffer
	in := strings.NewReader(
		initialize + "\n" + `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n" +
			`{"jsonrpc":"2.0","id":2,"method":"tools/list"}` + "\n",
	)
	if err := newServer(t).ServeStdio(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	if answers := out.String(); !strings.Contains(answers, "serverInfo") ||
		!strings.Contains(answers, "vm_run") {
		t.Errorf("got %q", answers)
	}
}

func TestOwned(t *testing.T) {
	removed := make(chan string, 8)
	o := &owned{remove: func(id string) { removed <- id }}
	o.add(nil, "a")
	o.add(nil, "b")
	o.forget("a")
	o.wait()
	close(removed)
	var ids []string
	for id := range removed {
		ids = append(ids, id)
	}
	if !slices.Equal(ids, []string{"b"}) {
		t.Errorf("removed %q, want b", ids)
	}
}

func TestCut(t *testing.T) {
	text := strings.Repeat("é", 100)
	got, cut := cutMiddle(text, 51, "rest")
	if !cut || !strings.Contains(got, "bytes left out; rest") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("got %q", got)
	}
	if got, cut := cutMiddle(text, 200, "rest"); cut || got != text {
		t.Error("cut what fits")
	}
}

func FuzzReadLine(f *testing.F) {
	for _, seed := range []string{"", "{}\n", "a\nb", strings.Repeat("x", 100) + "\n{}\n", "\r\n\n\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(data), 16)
		for range len(data) + 2 {
			line, _, err := text.Line(r, 64, 0)
			if len(line) > 64 {
				t.Fatalf("a line of %d bytes", len(line))
			}
			if m, refusal := decode(line, notTooLong(err)); m == nil && refusal == nil {
				t.Fatal("neither a message nor a refusal")
			}
			if err == io.EOF {
				return
			}
		}
		t.Fatal("the input did not end")
	})
}
