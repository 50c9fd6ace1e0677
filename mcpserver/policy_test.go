package mcpserver

//lint:file-ignore SA1019 Roots are on their way out, and what the clients of today have.

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// call calls a tool and gives what a model reads.
func callTool(
	t *testing.T,
	session *mcp.ClientSession,
	name string,
	args map[string]any,
) (text string, failed bool) {
	t.Helper()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: args})
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return result.Content[0].(*mcp.TextContent).Text, result.IsError
}

// parameters are those that a tool shows.
func parameters(t *testing.T, s *Server, name string) map[string]bool {
	t.Helper()
	list, err := connect(t, s).ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, tool := range list.Tools {
		raw, _ := json.Marshal(tool.InputSchema)
		if tool.Name != name {
			continue
		}
		var schema struct {
			Properties map[string]any `json:"properties"`
		}
		if err := json.Unmarshal(raw, &schema); err != nil {
			t.Fatal(err)
		}
		for parameter := range schema.Properties {
			shown[parameter] = true
		}
	}
	return shown
}

// Each attempt to reach beyond the VM is refused, with the flag that would allow it, and passes with that
// flag.
func TestPolicy(t *testing.T) {
	root, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{root, other} {
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(other, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	none, some := Policy{SourceRoots: []string{}}, Policy{SourceRoots: []string{root}}
	network, hosts := Policy{
		Network: true,
	}, Policy{
		Network: true,
		Hosts:   []string{"example.org", "10.0.0.0/8:443"},
	}
	publish, registry := Policy{Publish: true}, Policy{Registries: []string{"Docker.io"}}
	const path, image = "source_path", "environment"
	list := func(words ...string) []string { return words }
	for what, row := range map[string]struct {
		policy    Policy
		parameter string
		value     any
		want      string // "" is that the policy lets it pass
	}{
		"a network":                {none, "network", true, "--allow-network"},
		"a host":                   {none, "allow", list("example.org"), "--allow-network"},
		"an empty list":            {none, "allow", list(), ""},
		"no path, said":            {none, path, "", ""},
		"no list, said":            {none, "allow", nil, ""},
		"no host, said":            {none, "allow_host_compat", false, ""},
		"no network, said":         {none, "network", false, ""},
		"a network, allowed":       {network, "network", true, ""},
		"a public host":            {network, "allow", list("example.org:22/tcp"), ""},
		"a private one":            {network, "allow", list("a.b", "10.0.0.1"), flagNetwork + "=10.0.0.1"},
		"this host":                {network, "allow", list("127.0.0.1:5"), flagNetwork + "=127.0.0.1:5"},
		"nonsense":                 {network, "allow", list("exa mple"), "[invalid]"},
		"a listed host":            {hosts, "allow", list("example.org:443", "10.1.2.3:443"), ""},
		"an unlisted host":         {hosts, "allow", list("example.net"), flagNetwork + "=example.net"},
		"another port":             {hosts, "allow", list("10.1.2.3:22"), flagNetwork + "=10.1.2.3:22"},
		"the host":                 {none, "allow_host_compat", true, "--allow-host-compat"},
		"the host, allowed":        {Policy{HostCompat: true}, "allow_host_compat", true, ""},
		"a port":                   {none, "publish", list("8080:80"), "--allow-publish"},
		"a port, allowed":          {publish, "publish", list("0:80", "127.0.0.1:0:81", "[::1]:0:82"), ""},
		"a port of all addresses":  {publish, "publish", list("0.0.0.0:8080:80"), "leave the address out"},
		"a file":                   {none, path, root, flagSourceRoot},
		"without a client's roots": {Policy{}, path, root, flagSourceRoot},
		"a root":                   {some, path, root, ""},
		"below a root":             {some, path, filepath.Join(root, "file"), ""},
		"by a relative path":       {some, path, "file", ""},
		"beside a root":            {some, path, other, flagSourceRoot},
		"upwards":                  {some, path, root + "/../" + filepath.Base(other), flagSourceRoot},
		"by a link":                {some, path, filepath.Join(root, "link", "file"), flagSourceRoot},
		"by a name like it":        {some, path, root + "x", flagSourceRoot},
		"what is not there":        {some, path, filepath.Join(root, "none"), "[bad_seed]"},
		"not there, elsewhere":     {some, path, filepath.Join(other, "none"), flagSourceRoot},
		"a registry":               {none, image, "docker.io/library/busybox:1", flagRegistry + " docker.io"},
		"a registry, allowed":      {registry, image, "docker.io/library/none.such@x", ""},
		"another registry":         {registry, image, "evil.example/x:1", flagRegistry + " evil.example"},
		"another port of it":       {registry, image, "docker.io:5000/x:1", flagRegistry + " docker.io:5000"},
		"an archive":               {none, image, "oci-archive:" + root + "/file", flagSourceRoot},
		"an archive below a root":  {some, image, "oci-archive:" + root + "/file:x", ""},
		"an archive beside a root": {some, image, "docker-archive:" + other + "/file", flagSourceRoot},
		"a directory as an image":  {some, image, "oci:" + other, flagSourceRoot},
	} {
		t.Run(what, func(t *testing.T) {
			// What isolates the guest makes no difference to what the model may reach.
			isolation := []string{"vm", "gvisor"}[len(what)%2]
			args := map[string]any{"environment": "debian:none", "command": "true", "isolation": isolation}
			tool := "vm_run"
			if row.parameter == "source_path" || row.parameter == "publish" {
				tool = "task_create"
				delete(args, "command")
			}
			args[row.parameter] = row.value
			session := connect(t, newServer(t, Options{Policy: row.policy}))
			text, failed := callTool(t, session, tool, args)
			if !failed {
				t.Fatalf("there is no such environment, but: %s", text)
			}
			refused := strings.HasPrefix(text, "[denied]")
			switch {
			case row.want == "" && (refused || strings.HasPrefix(text, "[invalid")):
				t.Error(text)
			case row.want == "":
			case !strings.Contains(text, row.want), refused != strings.HasPrefix(row.want, "--"):
				t.Errorf("not %q: %s", row.want, text)
			}
		})
	}
}

// A model is shown only what it may ask for.
func TestPolicySchemas(t *testing.T) {
	for _, row := range []struct {
		policy Policy
		want   string
	}{
		{Policy{}, "source_path"},
		{Policy{SourceRoots: []string{}}, ""},
		{Policy{SourceRoots: []string{"/"}}, "source_path"},
		{Policy{SourceRoots: []string{}, Network: true}, "network allow"},
		{Policy{SourceRoots: []string{}, Publish: true}, "publish"},
		{Policy{SourceRoots: []string{}, HostCompat: true}, "allow_host_compat"},
	} {
		shown := parameters(t, newServer(t, Options{Policy: row.policy}), "task_create")
		for _, name := range []string{"source_path", "network", "allow", "publish", "allow_host_compat"} {
			if want := strings.Contains(" "+row.want+" ", " "+name+" "); shown[name] != want {
				t.Errorf("%+v: %s is shown: %v", row.policy, name, shown[name])
			}
		}
		if !shown["environment"] {
			t.Errorf("%+v: no environment", row.policy)
		}
	}
}

// Copies to the host are for people: a model cannot ask for any.
func TestNoOutputs(t *testing.T) {
	session := connect(t, newServer(t, Options{Policy: Policy{SourceRoots: []string{"/"}, Network: true}}))
	text, failed := callTool(t, session, "vm_run", map[string]any{
		"environment": "debian:none",
		"command":     "true",
		"outputs":     []string{"a=/tmp/a"},
	})
	if !failed || !strings.HasPrefix(text, "[invalid]") || !strings.Contains(text, "outputs") {
		t.Error(text)
	}
}

// A client's roots are where workspaces may come from, unless the person has named others.
func TestClientRoots(t *testing.T) {
	root, other := t.TempDir(), t.TempDir()
	here, there := mcp.NewInMemoryTransports()
	s := newServer(t)
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context(), there) }()
	client := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil)
	client.AddRoots(
		&mcp.Root{URI: "file://" + root},
		&mcp.Root{URI: "https://example.org/"},
		&mcp.Root{URI: "file:relative"},
	)
	session, err := client.Connect(t.Context(), here, &mcp.ClientSessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for path, allowed := range map[string]bool{root: true, other: false, "/": false} {
		text, _ := callTool(
			t,
			session,
			"task_create",
			map[string]any{"environment": "debian:none", "source_path": path},
		)
		if denied := strings.HasPrefix(text, "[denied]"); denied == allowed {
			t.Errorf("%s: %s", path, text)
		}
	}
	session.Close()
	<-done
}

func TestPolicyCheck(t *testing.T) {
	for text, p := range map[string]Policy{
		"cannot take a workspace": {SourceRoots: []string{"/none/such"}},
		"cannot allow":            {Network: true, Hosts: []string{"exa mple"}},
		"":                        {SourceRoots: []string{"/"}, Network: true, Hosts: []string{"*.a:443"}},
	} {
		if err := p.Check(); !strings.Contains(fmt.Sprint(err), text) || text == "" && err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
